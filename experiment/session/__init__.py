"""A participant's session: form, calibration, validation, pictures; who may ask for what, and how it ends."""
