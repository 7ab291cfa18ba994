"""The REST gateway: HTTP in, sessions stored, results out. It schedules nothing.

``settings`` says where things are, ``service`` holds the use cases, ``api`` the routes over them,
``bootstrap`` puts the parts together and ``main`` runs the process.
"""
