"""Patterns of what can be said, as JSON Schema tells them."""

# At least one character that is no space; the database holds no NUL.
SAYS_SOMETHING = r"^[^\x00]*[^\s\x00-\x20\x7f-\xa0][^\x00]*$"
NO_NUL = r"^[^\x00]*$"
# Most answers to one question, and characters of a text.
MOST = 1000
LONGEST = 1000
