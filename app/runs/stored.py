"""Names in `Run.metrics` of what publication stores for judging a run."""

# By participant, what ingestion said of voxels and noise ceilings.
PARTICIPANTS = "participants"
# Why a run ended without any component, and what to do about it.
NOTHING = "nothing"
# Whether it found nothing.
FOUND_NOTHING = "found_nothing"
# The judgement as it was at publication, for SQL.
REPORT = "report"
