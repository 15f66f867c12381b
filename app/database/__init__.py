"""Engine, models, embedded server, migrations and bulk writes."""
