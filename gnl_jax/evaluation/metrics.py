"""How well scores and score maps separate anomalous from normal; exact for tied scores."""

import numpy as np
from scipy import ndimage
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score


def auroc(scores: np.ndarray, anomalous: np.ndarray) -> float:
    """Area under the ROC curve: how often an anomalous image scores higher than a normal one, ties half.

    Args:
        scores: floats [n], higher is more anomalous.
        anomalous: bool [n].

    Returns:
        A fraction in [0, 1].

    Raises:
        ValueError: a score that is not finite; only one class; shapes that differ.
    """
    scores, anomalous = checked(scores, anomalous)
    return float(roc_auc_score(anomalous, scores))


def average_precision(scores: np.ndarray, anomalous: np.ndarray) -> float:
    """Sum over distinct thresholds of precision times the gain in recall; scikit-learn's definition.

    Arguments, range and errors as `auroc`.
    """
    scores, anomalous = checked(scores, anomalous)
    return float(average_precision_score(anomalous, scores))


def f1_max(scores: np.ndarray, anomalous: np.ndarray) -> float:
    """The largest F1 over all thresholds; an upper bound, as its threshold is chosen on the test set.

    Arguments, range and errors as `auroc`.
    """
    scores, anomalous = checked(scores, anomalous)
    precision, recall, _ = precision_recall_curve(anomalous, scores)
    # Where nothing is found both are 0, and so is F1; the least positive number keeps that from being 0 / 0.
    return float(np.max(2 * precision * recall / np.maximum(precision + recall, np.finfo(np.float64).tiny)))


def pixel_auroc(maps: np.ndarray, masks: np.ndarray) -> float:
    """AUROC of all pixels of all images together.

    Args:
        maps: floats [n h w], higher is more anomalous.
        masks: bool [n h w], True on the defect.

    Returns:
        A fraction in [0, 1].

    Raises:
        ValueError: as `auroc`.
    """
    return auroc(np.ravel(maps), np.ravel(masks))


def aupro(maps: np.ndarray, masks: np.ndarray, limit: float = 0.3) -> float:
    """Area under the per-region overlap, up to a false-positive rate; the localisation metric of MVTec AD.

    A threshold finds some fraction of the pixels of each defect (an 8-connected region of a mask) and some
    fraction of the normal pixels, the false-positive rate. The curve of the former, averaged over all defects
    of all images, against the latter has a vertex at every distinct score and straight lines between.

    Args:
        maps: floats [n h w], higher is more anomalous.
        masks: bool [n h w], True on the defect.
        limit: largest false-positive rate, in (0, 1].

    Returns:
        The area up to the limit, divided by the limit, a fraction in [0, 1].

    Raises:
        ValueError: as `auroc`; a limit outside (0, 1].
    """
    maps, masks = checked(maps, masks)
    if maps.ndim != 3:
        raise ValueError(f"maps: got shape {maps.shape}, expected [n h w]")
    if not 0 < limit <= 1:
        raise ValueError(f"limit: got {limit}, expected a false-positive rate in (0, 1]")
    normal = masks.size - np.count_nonzero(masks)
    # The first threshold whose false-positive rate reaches the limit; below it nothing is integrated.
    reach = int(np.ceil(limit * normal))
    kept = maps >= np.partition(maps[~masks], normal - reach)[normal - reach]
    order, last = _descending(maps[kept])
    false_rate = np.append(0, np.cumsum(~masks[kept][order])[last] / normal)
    overlap = np.append(0, np.cumsum(_region_weights(masks)[kept][order])[last])
    overlap[-1] = np.interp(limit, false_rate, overlap)
    false_rate[-1] = limit
    return float(np.trapezoid(overlap, false_rate) / limit)


def false_alarm_rate(normal_scores: np.ndarray, threshold: float) -> float:
    """The fraction of normal images that score above a threshold.

    Args:
        normal_scores: floats [n], of normal images only.
        threshold: an image is called anomalous when its score is above it.

    Raises:
        ValueError: no scores, or one that is not finite; a threshold that is NaN.
    """
    scores = np.asarray(normal_scores)
    if scores.size == 0:
        raise ValueError("normal_scores: got none, expected at least one")
    if np.isnan(threshold):
        raise ValueError("threshold: got NaN")
    check_finite(scores)
    return float(np.mean(scores > threshold))


def threshold_at(normal_scores: np.ndarray, rate: float) -> float:
    """The lowest threshold that at most a fraction `rate` of these normal images score above.

    An order statistic, never a value between two scores: the highest score but floor(rate n). With ties fewer images
    may lie above it.

    Args:
        normal_scores: floats [n], of normal images only.
        rate: of false alarms, in [0, 1).

    Raises:
        ValueError: no scores, or one that is not finite; a rate outside [0, 1).
    """
    scores = np.asarray(normal_scores)
    if scores.size == 0:
        raise ValueError("normal_scores: got none, expected at least one")
    if not 0 <= rate < 1:
        raise ValueError(f"rate: got {rate}, expected a false-alarm rate in [0, 1)")
    check_finite(scores)
    # The product of 0.07 and 100 is just above 7: a count that is whole but for rounding counts as whole.
    above = int(np.floor(rate * scores.size + 1e-9))
    place = scores.size - 1 - above
    return float(np.partition(scores, place)[place])


def checked(scores: np.ndarray, anomalous: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays; ValueError as `auroc` says."""
    scores, anomalous = np.asarray(scores), np.asarray(anomalous)
    if anomalous.dtype != np.bool_ or anomalous.shape != scores.shape:
        raise ValueError(f"labels: got {anomalous.dtype} {anomalous.shape}, expected bool {scores.shape}")
    check_finite(scores)
    positives = np.count_nonzero(anomalous)
    negatives = anomalous.size - positives
    if positives == 0 or negatives == 0:
        raise ValueError(
            f"one class missing from the test: {negatives} normal and {positives} anomalous, "
            "expected at least one of each"
        )
    return scores, anomalous


def check_finite(scores: np.ndarray) -> None:
    """ValueError that counts the scores that are not finite and says where the first one is."""
    (bad,) = np.nonzero(~np.isfinite(scores.ravel()))
    if len(bad):
        at = tuple(int(i) for i in np.unravel_index(bad[0], scores.shape))
        raise ValueError(f"scores: {len(bad)} of {scores.size} are not finite, the first at {at}")


def _descending(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The order from the highest score down, and the last position of every run of equal scores in it."""
    order = np.argsort(scores)[::-1]
    (last,) = np.nonzero(np.append(np.diff(scores[order]) != 0, True))
    return order, last


def _region_weights(masks: np.ndarray) -> np.ndarray:
    """What finding a pixel adds to the mean overlap: 1 / (regions * pixels in its region), 0 if normal."""
    neighbours = np.zeros((3, 3, 3), bool)
    neighbours[1] = True  # the eight within an image; none across images
    regions, count = ndimage.label(masks, neighbours)
    weights = 1 / (count * np.bincount(regions.ravel()))
    weights[0] = 0
    return weights[regions]
