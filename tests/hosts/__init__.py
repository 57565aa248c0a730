"""Workers by the dozen for tests about their deaths: forked, so that each costs milliseconds."""
