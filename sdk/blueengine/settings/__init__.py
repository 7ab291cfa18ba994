"""Settings as frozen records: engine.yml, the communication config, the environment.

A wrong setting is one clear line (``SettingsError``) that names the file or variable and the cure.
"""
