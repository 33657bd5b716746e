"""A verdict to what ships: checks of a release and its clone, bill of materials, model card, signing."""
