# install(), and what find_package(moe4j) and pkg-config need to find it.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/moe4j)

install(TARGETS moe4j EXPORT moe4jTargets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY cpp/include/moe4j DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(EXPORT moe4jTargets NAMESPACE moe4j:: DESTINATION ${package_dir} FILE moe4jConfig.cmake)

write_basic_package_version_file(${PROJECT_BINARY_DIR}/moe4jConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/moe4jConfigVersion.cmake DESTINATION ${package_dir})

# Relative, so that the installed tree can be moved.
file(RELATIVE_PATH prefix_from_pkgconfig /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
configure_file(cpp/cmake/moe4j.pc.in ${PROJECT_BINARY_DIR}/moe4j.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/moe4j.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
