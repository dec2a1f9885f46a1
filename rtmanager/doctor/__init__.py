"""The doctor: checks an installation and says how to fix each problem.

``collect`` queries all servers and returns ``facts``. ``service_checks`` and ``config_checks`` evaluate them: pure, one
function per check.
"""
