# Options, warnings and sanitizers shared by every target of the project, and the two helpers with
# which targets are declared: kvnode_add_plugin() and kvnode_add_test().

option(KV_TESTS "Build the tests" ON)
option(KV_WERROR "Treat warnings as errors" OFF)
set(KV_SANITIZE "" CACHE STRING "Sanitizers, as for -fsanitize=: address,undefined | thread | empty")
option(KV_FUZZ "Build the libFuzzer targets (clang only)" OFF)
option(KV_COVERAGE "Instrument for coverage" OFF)

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(KV_PLUGIN_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/plugins.d)

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(LIBUV REQUIRED IMPORTED_TARGET libuv>=1.44)
pkg_check_modules(LIBCONFIG REQUIRED IMPORTED_TARGET libconfig>=1.5)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson>=2.14)
pkg_check_modules(SODIUM REQUIRED IMPORTED_TARGET libsodium>=1.0.18)
if(KV_TESTS)
    pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka>=1.1.5)
endif()

add_compile_definitions(_GNU_SOURCE)
add_compile_options(
    -Wall -Wextra -Wshadow -Wvla -Wconversion -Wstrict-prototypes -Wmissing-prototypes
    -Wno-sign-conversion -fno-strict-aliasing -fvisibility=hidden)
if(KV_WERROR)
    add_compile_options(-Werror)
endif()
if(KV_SANITIZE)
    add_compile_options(-fsanitize=${KV_SANITIZE} -fno-omit-frame-pointer
                        -fno-sanitize-recover=all)
    add_link_options(-fsanitize=${KV_SANITIZE})
endif()
if(KV_COVERAGE)
    add_compile_options(--coverage)
    add_link_options(--coverage)
endif()

# kvnode_add_plugin(NAME SOURCE...): a plugin, NAME.so in the plugin folder. It sees the public
# headers only: core/ is never on its include path.
function(kvnode_add_plugin name)
    add_library(${name} MODULE ${ARGN})
    set_target_properties(${name} PROPERTIES
        PREFIX "" OUTPUT_NAME ${name} LIBRARY_OUTPUT_DIRECTORY ${KV_PLUGIN_OUTPUT_DIRECTORY})
    target_link_libraries(${name} PRIVATE kvnode_sdk Threads::Threads)
    target_link_options(${name} PRIVATE -Wl,--exclude-libs,ALL)
    install(TARGETS ${name} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/kvnode/plugins)
endfunction()

# kvnode_add_test(NAME TIMEOUT_S LABEL SOURCE... LIBS lib...): one cmocka program, one ctest entry,
# one process, bounded in time.
function(kvnode_add_test name timeout label)
    cmake_parse_arguments(ARG "" "" "SOURCES;LIBS" ${ARGN})
    add_executable(${name} ${ARG_SOURCES})
    target_link_libraries(${name} PRIVATE ${ARG_LIBS} PkgConfig::CMOCKA)
    add_test(NAME ${name} COMMAND ${name})
    set_tests_properties(${name} PROPERTIES TIMEOUT ${timeout} LABELS ${label})
endfunction()

# kvnode_check_registered(DIR SOURCE...): a test_*.c in DIR that no target names is an error, so
# that a test cannot be forgotten.
function(kvnode_check_registered dir)
    file(GLOB found RELATIVE ${dir} CONFIGURE_DEPENDS ${dir}/test_*.c)
    foreach(file IN LISTS found)
        if(NOT file IN_LIST ARGN)
            message(FATAL_ERROR "${dir}/${file} is registered in no CMakeLists.txt")
        endif()
    endforeach()
endfunction()
