/* core/options.h: reading the options that callers hand in. A struct stamps its own size: an older caller's is shorter
 * and gets the defaults for what it does not know; a newer caller's may be longer if what we do not know is all zero.
 */
#ifndef LARDER_CORE_OPTIONS_H
#define LARDER_CORE_OPTIONS_H

#include <larder/larder.h>

/* Each fills *out with defaults and then with what was given (NULL: nothing), and checks it. LARDER_EINVAL with a
 * sentence. */
int larder__options_read(larder_options *out, const larder_options *given, larder_error *error);
int larder__handler_options_read(larder_handler_options *out, const larder_handler_options *given, larder_error *error);
int larder__send_options_read(larder_send_options *out, const larder_send_options *given, larder_error *error);

#endif
