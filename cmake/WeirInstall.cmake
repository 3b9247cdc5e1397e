# Where things go on "cmake --install".
configure_file(cmake/weir.pc.in ${PROJECT_BINARY_DIR}/weir.pc @ONLY)
install(TARGETS weir_static weir_shared
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/weir DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(FILES ${PROJECT_BINARY_DIR}/weir.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES LICENSE README.md CONTRIBUTING.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR}/docs FILES_MATCHING PATTERN "*.md" PATTERN "examples/*")
if(TARGET weir)
  install(TARGETS weir RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  # Manual pages and completion are the program's own words: one page a command of tools/cli.h's table.
  file(READ tools/cli.h weir_table)
  string(REGEX MATCHALL "X\\([a-z]+, \"" weir_commands "${weir_table}")
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS tools/cli.h)
  set(weir_made share/man/weir.1 share/man/weir-vendor.1 share/weir.bash)
  set(weir_recipes COMMAND weir help --man > share/man/weir.1 COMMAND weir completion bash > share/weir.bash
      COMMAND weir-vendor --man > share/man/weir-vendor.1)
  foreach(row IN LISTS weir_commands)
    string(REGEX REPLACE "X\\(([a-z]+),.*" "\\1" command "${row}")
    list(APPEND weir_made share/man/weir-${command}.1)
    list(APPEND weir_recipes COMMAND weir help --man ${command} > share/man/weir-${command}.1)
  endforeach()
  list(TRANSFORM weir_made PREPEND ${PROJECT_BINARY_DIR}/ OUTPUT_VARIABLE weir_made_paths)
  add_custom_command(OUTPUT ${weir_made_paths}
                     COMMAND ${CMAKE_COMMAND} -E make_directory share/man
                     ${weir_recipes}
                     WORKING_DIRECTORY ${PROJECT_BINARY_DIR} DEPENDS weir weir-vendor VERBATIM
                     COMMENT "Manual pages and completion")
  add_custom_target(weir_pages ALL DEPENDS ${weir_made_paths})
  install(DIRECTORY ${PROJECT_BINARY_DIR}/share/man/ DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
  install(FILES ${PROJECT_BINARY_DIR}/share/weir.bash
          DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME weir)
endif()
