"""Published results on the real meshes, which every backend has to reproduce."""

#: Iterations that independent implementations needed, and u max.
PUBLISHED = {
    "y_tube_201": ({115, 116}, 11.501239433),
    "venturi_341": ({132, 133}, 12.062856014),
    "s_bend_387": ({156, 157}, 13.347713210),
}
