# SPDX-License-Identifier: GPL-3.0-or-later
"""``FOOTAGE.toml``: where a recording's images, joint positions and markers are. JSON of the same shape is read too.

::

    robot = "ur3e.urdf"                  # URDF or xacro; or --robot FILE

    [cameras.left]                       # any number of them, named as you like
    images = "left/*.png"                # folder, pattern, video, or a list of these
    intrinsics = [900, 900, 640, 360]    # fx, fy, cx, cy, then k1, k2, p1, p2, k3; or a ROS camera_info YAML or JSON
                                         # file; left out: estimated from the board
    on = "tool0"                         # link it is mounted on; left out: it rests beside the robot
    times = "left.csv"                   # columns file (or index) and time; or "name": the number in the file's name
    fps = 30.0                           # instead of times: frames per second, from start on
    start = 0.0
    depth = "left_depth/*.png"           # 16-bit images of millimetres, one for each image

    [markers.board]
    kind = "checkerboard"                # or "charuco", "aruco" (AprilTags as well)
    inner_corners = [9, 7]               # checkerboard
    squares = [5, 7]                     # charuco
    square_m = 0.02                      # both
    marker_m = 0.015                     # charuco and aruco: edge of the black square
    dictionary = "DICT_4X4_50"           # charuco and aruco
    id = 3                               # aruco
    on = "tool0"                         # link it is mounted on; left out: it rests in the room
    mount = [[1, 0, 0, 0], …]            # T_link_marker, 4 x 4; left out: estimated

    [joint_log]
    file = "joints.csv"                  # CSV, JSON, Parquet (a LeRobot data set's folder), a rosbag2 folder
    unit = "radians"                     # or "degrees"
    time = "time"                        # the column of the time
    columns = {q1 = "shoulder_pan_joint"}   # where columns and joints have different names
    clock_offset = 0.0                   # added to the images' times; or "estimate"

Instead of ``images`` and ``joint_log``, single frames may be listed with the pose of the robot at which each was taken:
``frames = [{camera = "left", file = "left_01.jpg", pose = 1}, …]`` and ``[joints.1]`` with a position for each joint.
"""
