/* core/close.c: how an instance ends.
 *
 *     OPEN      larder_close has been called: the inbox refuses at once; the message comes in its order
 *     DRAINING  what was sent before is dispatched and answered, up to the grace time; then all that is left is
 * answered with CLOSED SAVING    counters whose saving is under way come back first, so that the newest are saved too
 *     STOPPING  the store commits what is queued and ends its writer; invalidations and flushes call back
 *     LEAVING   idle workers end and are joined; those that hang in a handler are counted and left alone
 *     CLOSING   the inbox is closed: from here on a late answer frees its run where it is given; handlers are given up;
 *               the handles are closed; the last of their callbacks calls the program back and frees everything
 *
 * The instance moves forward only, one state at a time, at the end of a dispatch; whatever it waits for wakes the loop.
 */
#include "base/alloc.h"
#include "base/clock.h"
#include "core/instance.h"

#include <assert.h>
#include <string.h>

static const larder__state next_states[LARDER__STATES] = {
    [LARDER__OPEN] = LARDER__DRAINING,    [LARDER__DRAINING] = LARDER__SAVING, [LARDER__SAVING] = LARDER__STOPPING,
    [LARDER__STOPPING] = LARDER__LEAVING, [LARDER__LEAVING] = LARDER__CLOSING, [LARDER__CLOSING] = LARDER__STATES,
};

static void move(larder *l, larder__state to)
{
    larder__state next = next_states[l->state];
    assert(next == to);
    (void)to;
    l->state = next;
}

/* ---- asking for it ---- */

int larder__close_start(larder *l, uint32_t grace_ms, larder_close_cb done, void *user_data, int joined)
{
    int status = larder__inbox_refuse(l->inbox);
    if (status != LARDER_OK) {
        return status;
    }
    l->close_grace_ms = grace_ms;
    l->close_done = done;
    l->close_user_data = user_data;
    l->close_message.kind = LARDER__MESSAGE_CLOSE;
    if (l->own != NULL) {
        l->own->joined = joined;
    }
    return larder__inbox_post(l->inbox, &l->close_message);
}

int larder_close(larder *l, uint32_t grace_ms, larder_close_cb done, void *user_data)
{
    int status = larder__enter(l, NULL);
    return status == LARDER_OK ? larder__close_start(l, grace_ms, done, user_data, 0) : status;
}

void larder__close_begin(larder *l)
{
    uint64_t grace_ns = (uint64_t)l->close_grace_ms * 1000000u;
    move(l, LARDER__DRAINING);
    l->close_deadline_ns = larder__mono_ns(&l->clock) + grace_ns;
    l->close_real_ns = larder__mono_ns(&larder__system_clock) + grace_ns;
    l->grace_over = grace_ns == 0;
    uv_timer_stop(&l->saver);
}

/* ---- draining ---- */

static void check_grace(larder *l)
{
    if (!l->grace_over) {
        l->grace_over = larder__mono_ns(&l->clock) >= l->close_deadline_ns
                        || larder__mono_ns(&larder__system_clock) >= l->close_real_ns;
    }
}

/* 1: nobody waits for an answer any more. */
static int drained(larder *l)
{
    check_grace(l);
    if (l->grace_over) {
        l->report.cancelled += larder__request_close_all(l);
    }
    uint32_t busy = larder__workers_busy(l->workers, 1);
    return larder__inbox_in_flight(l->inbox) == 0 && (busy == 0 || l->grace_over);
}

/* ---- saving, stopping ---- */

static void on_counters_saved(int status, void *user_data)
{
    (void)status; /* the store says at its end what could not be written */
    ((larder *)user_data)->saved = 1;
}

static void save(larder *l)
{
    int under_way = larder__metrics_saving(l->metrics) || l->halfway_flushes > 0;
    larder__save(l, 1);
    if (!under_way || larder__store_flush(l->store, on_counters_saved, l) != LARDER_OK) {
        l->saved = 1;
    }
}

void larder__close_stopped(void *owner, int status, uint64_t unsaved)
{
    larder *l = owner;
    l->stopped = 1;
    l->report.status = status;
    l->report.unsaved = unsaved;
}

/* ---- closing ---- */

/* What comes now comes too late for anybody; nothing that would have to call back is among it. */
static void drop_leftovers(larder__list *left)
{
    larder__list *link;
    while ((link = larder__list_shift(left)) != NULL) {
        larder__message *message = LARDER__CONTAINER(link, larder__message, link);
        if (message->kind == LARDER__MESSAGE_ANSWER) {
            larder__run_unref(LARDER__CONTAINER(message, larder_request, message));
        } else if (message->kind == LARDER__MESSAGE_RELEASE) {
            larder__handler_destroy(LARDER__CONTAINER(message, larder__handler, release));
        } else {
            assert(message->kind == LARDER__MESSAGE_CANCEL);
            larder__control_drop(message);
        }
    }
}

static void finish(larder *l)
{
    larder_close_cb done = l->close_done;
    void *user_data = l->close_user_data;
    if (done != NULL) {
        done(&l->report, user_data);
    }
    larder__instance_free(l);
}

static void on_handle_closed(uv_handle_t *handle)
{
    larder *l = handle->data;
    if (--l->open_handles == 0) {
        finish(l);
    }
}

static void close_everything(larder *l)
{
    larder__registry_clear(&l->registry, l->inbox);
    larder__inbox_close(l->inbox, &l->ready);
    drop_leftovers(&l->ready);
    uv_handle_t *handles[LARDER__HANDLES] = {
        (uv_handle_t *)&l->async, (uv_handle_t *)&l->check, (uv_handle_t *)&l->idle,
        (uv_handle_t *)&l->timer, (uv_handle_t *)&l->saver,
    };
    l->open_handles = LARDER__HANDLES;
    for (int i = 0; i < LARDER__HANDLES; i++) {
        uv_close(handles[i], on_handle_closed);
    }
}

/* ---- the steps ---- */

static int step(larder *l) /* 1: it went on */
{
    switch (l->state) {
    case LARDER__DRAINING:
        if (!drained(l)) {
            return 0;
        }
        move(l, LARDER__SAVING);
        save(l);
        return 1;
    case LARDER__SAVING:
        if (!l->saved) {
            return 0;
        }
        move(l, LARDER__STOPPING);
        larder__save(l, 1);
        larder__store_stop(l->store);
        return 1;
    case LARDER__STOPPING:
        if (!l->stopped) {
            return 0;
        }
        move(l, LARDER__LEAVING);
        l->report.stuck_workers = larder__workers_stop(l->workers);
        return 1;
    case LARDER__LEAVING:
        if (!larder__workers_reap(l->workers)) {
            return 0;
        }
        move(l, LARDER__CLOSING);
        close_everything(l);
        return 0;
    case LARDER__OPEN:
    case LARDER__CLOSING:
    case LARDER__STATES:
        break;
    }
    return 0;
}

void larder__close_step(larder *l)
{
    while (step(l)) {
    }
}
