"""Breaking a pool on purpose, and judging what came of it by the exchange's own books."""
