"""Commands that have much to say of their options, one file each; what they call is imported when they run."""
