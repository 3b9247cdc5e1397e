# Compiler flags, in one interface target that every object of ours uses.
add_library(weir_flags INTERFACE)
target_compile_definitions(weir_flags INTERFACE _GNU_SOURCE)
target_include_directories(weir_flags INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/include)
target_compile_options(weir_flags INTERFACE -Wall -Wextra -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes
                                            -Wvla -Wwrite-strings -Wno-missing-field-initializers -fno-math-errno
                                            -ffp-contract=off)
if(WEIR_WERROR)
  target_compile_options(weir_flags INTERFACE -Werror)
endif()
if(WEIR_ASAN)
  target_compile_options(weir_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=undefined
                                              -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
endif()
if(WEIR_TSAN)
  target_compile_options(weir_flags INTERFACE -fsanitize=thread -fno-omit-frame-pointer)
  add_link_options(-fsanitize=thread)
endif()
if(WEIR_FUZZ)
  target_compile_options(weir_flags INTERFACE -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
                                              -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
endif()
if(WEIR_COVERAGE)
  target_compile_options(weir_flags INTERFACE --coverage -O0)
  add_link_options(--coverage)
endif()

# weir_room(NAME FILES...): one folder's objects, part of the library.
function(weir_room name)
  add_library(room_${name} OBJECT ${ARGN})
  target_link_libraries(room_${name} PRIVATE weir_flags weir_dependencies)
  set_property(GLOBAL APPEND PROPERTY WEIR_ROOMS room_${name})
endfunction()
