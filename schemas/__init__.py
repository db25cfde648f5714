"""What a record is and how long each part of it may live. Pure: no I/O, imports nothing of ours."""
