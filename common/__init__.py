"""What the workers of one pool share: configuration, dispatch, journal, limits and the exchanges."""
