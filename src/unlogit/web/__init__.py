"""Web pages: the explorer and the study, behind one guard."""
