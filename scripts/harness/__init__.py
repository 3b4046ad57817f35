"""Running a whole pool on this machine, feeding it, and judging it by the exchange's own books."""
