"""Scores of cells that membranes divide, of the ISBI 2012 challenge.

Both compare the cells, as connected pieces, and not the membranes' pixels: one
gap in a membrane joins two cells. Pixels that are membrane in the true mask do
not count. Membranes are taken as they are drawn; the challenge thinned them
before it scored.
"""

import numpy as np


def rand_f_score(true_membranes: np.ndarray, membranes: np.ndarray) -> float:
    """Return the F-score of pairs of pixels that are in one cell.

    Args:
        true_membranes: `(height, width)`, not zero where a membrane is.
        membranes: the same, as predicted.

    Returns:
        In [0, 1]; 1 if the cells are the same.

    Raises:
        ValueError: the masks' shapes differ, or the true one holds no cell.

    Reference:
        Arganda-Carreras et al., Crowdsourcing the creation of image
        segmentation algorithms for connectomics, 2015.
    """
    # Imported here: it takes a second, which `import kbp` need not.
    from sklearn.metrics.cluster import contingency_matrix

    table = contingency_matrix(*_cells(true_membranes, membranes), sparse=True)
    true, found = (
        np.asarray(table.sum(axis=axis), "float64") for axis in (1, 0)
    )
    both = (table.astype("float64").power(2)).sum()
    return float(2 * both / ((true**2).sum() + (found**2).sum()))


def information_f_score(
    true_membranes: np.ndarray, membranes: np.ndarray
) -> float:
    """Return the F-score of what one division into cells says of the other.

    Arguments, result, errors and reference are those of `rand_f_score`: twice
    the mutual information by the sum of the entropies.
    """
    from sklearn.metrics import normalized_mutual_info_score

    return float(
        normalized_mutual_info_score(*_cells(true_membranes, membranes))
    )


def _cells(
    true_membranes: np.ndarray, membranes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return each counted pixel's true cell and predicted cell.

    A pixel of a predicted membrane is in a cell of its own kind, number 0.
    """
    from scipy import ndimage

    shapes = np.shape(true_membranes), np.shape(membranes)
    if shapes[0] != shapes[1] or np.all(true_membranes):
        raise ValueError(
            "Arguments must be masks of one shape, the first with a pixel that "
            f"is no membrane. Received: shapes {shapes[0]} and {shapes[1]}"
        )
    true, found = (
        ndimage.label(np.asarray(mask) == 0)[0]
        for mask in (true_membranes, membranes)
    )
    counted = true > 0
    return true[counted], found[counted]
