"""F-scores of cell segmentations, from the ISBI 2012 challenge.

Both scores compare the cells, which are connected components, and not the
membranes' pixels: one gap in a membrane merges two cells. Pixels of membranes
in the true mask do not count. The membranes are not thinned, as the challenge
did before it scored.
"""

import numpy as np


def rand_f_score(true_membranes: np.ndarray, membranes: np.ndarray) -> float:
    """Return the F-score of pairs of pixels that share a cell.

    Args:
        true_membranes: `(height, width)`, nonzero where a membrane is.
        membranes: the predicted membranes, of the same shape.

    Returns:
        The score, in [0, 1]; 1 if the cells are the same.

    Raises:
        ValueError: the masks' shapes differ, or the true one holds no cell.

    Example:
    >>> import numpy as np, kbp
    >>> wall = np.array([[0, 1, 0, 0]])
    >>> kbp.metrics.rand_f_score(wall, wall)
    1.0
    >>> kbp.metrics.rand_f_score(wall, np.array([[0, 0, 0, 0]])) < 0.8
    True

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
    """Return the F-score of the mutual information of two segmentations.

    It is twice the mutual information of the true and the predicted cell of a
    pixel, divided by the sum of their entropies. Arguments, result and errors
    are those of `rand_f_score`.

    Example:
    >>> import numpy as np, kbp
    >>> wall = np.array([[0, 1, 0, 0]])
    >>> round(kbp.metrics.information_f_score(wall, wall), 6)
    1.0

    Reference:
        Arganda-Carreras et al., Crowdsourcing the creation of image
        segmentation algorithms for connectomics, 2015.
    """
    from sklearn.metrics import normalized_mutual_info_score

    return float(
        normalized_mutual_info_score(*_cells(true_membranes, membranes))
    )


def _cells(
    true_membranes: np.ndarray, membranes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return each counted pixel's true cell and predicted cell.

    The pixels of predicted membranes form a cell of number 0.
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
