"""Backups: made from one snapshot, restored into an empty database, proved in a scratch one."""
