"""`kestrel bench`: how fast it is on this machine, stage by stage, through the loop that flies."""
