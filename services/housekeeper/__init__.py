"""What must happen by itself: lost work is queued again, lost tokens replaced, sums checked."""
