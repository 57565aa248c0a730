"""Who works, and how work is combined:."""
