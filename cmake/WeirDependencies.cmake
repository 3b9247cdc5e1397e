# The libraries weir stands on, all of them Debian packages, found by pkg-config.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(WEIR_DEPS REQUIRED IMPORTED_TARGET openblas lapacke gsl libcurl jansson lmdb yaml-0.1 libxxhash
                  libutf8proc libzstd libcrypto libmicrohttpd libevent_core glib-2.0)
add_library(weir_dependencies INTERFACE)
target_link_libraries(weir_dependencies INTERFACE PkgConfig::WEIR_DEPS Threads::Threads m)
