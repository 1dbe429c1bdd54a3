# What the tests of a transport stand on, for both test folders to include().
set(TRANSPORT_TESTS_DIR ${CMAKE_CURRENT_LIST_DIR})

# The library ${scheme}_world, which loads transport-${scheme}, and bench_${scheme} on it, which is
# no test: it prints messages per second. calls: the plugin's counter of calls that send.
function(transport_add_world scheme calls)
    add_library(${scheme}_world STATIC EXCLUDE_FROM_ALL
        ${TRANSPORT_TESTS_DIR}/world.c ${TRANSPORT_TESTS_DIR}/ends.c
        ${TRANSPORT_TESTS_DIR}/shared_tests.c)
    target_include_directories(${scheme}_world PUBLIC ${TRANSPORT_TESTS_DIR})
    target_compile_definitions(${scheme}_world PUBLIC
        PLUGIN_FILE="$<TARGET_FILE:transport-${scheme}>" PLUGIN_SCHEME="${scheme}")
    target_link_libraries(${scheme}_world PUBLIC
        kvnode_base PkgConfig::LIBUV PkgConfig::CMOCKA ${CMAKE_DL_LIBS})
    add_dependencies(${scheme}_world transport-${scheme})

    add_executable(bench_${scheme} EXCLUDE_FROM_ALL ${TRANSPORT_TESTS_DIR}/bench_transport.c)
    target_compile_definitions(bench_${scheme} PRIVATE PLUGIN_CALLS="${calls}")
    target_link_libraries(bench_${scheme} PRIVATE ${scheme}_world)
endfunction()
