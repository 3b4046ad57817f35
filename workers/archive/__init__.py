"""What the archiver (`workers/archiver.py`) is made of: reading the streams, judging them, writing SQL."""
