# Turns sql/*.sql and migrations/*.sql into store/sql_embedded.{h,c} under `folder`, and sets LARDER_GENERATED_SQL.
function(larder_embed_sql folder)
  file(GLOB statements CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/sql/*.sql)
  file(GLOB migrations CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/migrations/*.sql)
  set(out ${folder}/store/sql_embedded)
  add_custom_command(
    OUTPUT ${out}.h ${out}.c
    COMMAND sh ${PROJECT_SOURCE_DIR}/cmake/embed.sh ${PROJECT_SOURCE_DIR} ${folder}/store
    DEPENDS ${statements} ${migrations} ${PROJECT_SOURCE_DIR}/cmake/embed.sh
    COMMENT "Embedding sql/ and migrations/"
    VERBATIM)
  add_custom_target(larder_sql DEPENDS ${out}.h ${out}.c)
  set(LARDER_GENERATED_SQL ${out}.c ${out}.h PARENT_SCOPE)
endfunction()
