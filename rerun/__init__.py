"""What a new run takes over of one that has ended, worked out from its histories alone."""
