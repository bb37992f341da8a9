// What `bakeoff.evaluation.stats` computes, for numbers that change while the page is read: the same formulas, and the
// quantiles of t come from there. A test holds one against the other.

const sum = (values) => values.reduce((total, value) => total + value, 0);
const mean = (values) => sum(values) / values.length;

// Mean, its cluster-robust standard error, and the number of clusters.
function meanAndError(values, groups) {
  const middle = mean(values);
  const sums = new Map();
  values.forEach((value, i) => sums.set(groups[i], (sums.get(groups[i]) || 0) + value - middle));
  const clusters = sums.size;
  const squares = sum([...sums.values()].map((one) => one * one));
  return [middle, Math.sqrt((clusters / Math.max(clusters - 1, 1)) * squares) / values.length, clusters];
}

function around(middle, error, clusters, critical) {
  const half = clusters > 1 ? critical[clusters - 2] * error : Infinity;
  return { estimate: middle, low: middle - half, high: middle + half };
}

// `hand_checked` of stats.py, clipped to 0 and 1: `hand` maps places in `metric` to what a person said.
function handChecked(metric, hand, groups, critical) {
  const places = [...hand.keys()].sort((a, b) => a - b);
  const rest = metric.map((_, place) => place).filter((place) => !hand.has(place));
  const of = (values, chosen) => chosen.map((place) => values[place]);
  const said = places.map((place) => hand.get(place));
  const checked = of(metric, places);
  const all = mean(metric);
  const spread = sum(metric.map((value) => (value - all) ** 2)) / (metric.length - 1);
  let [trust, predicted, errorRest] = [0, 0, 0];
  if (rest.length && places.length > 2 && spread) {
    const [middle, checkedMiddle] = [mean(said), mean(checked)];
    const together = sum(said.map((value, i) => (value - middle) * (checked[i] - checkedMiddle))) / (places.length - 1);
    trust = together / (spread * (1 + places.length / rest.length));
    [predicted, errorRest] = meanAndError(of(metric, rest).map((value) => trust * value), of(groups, rest));
  }
  const corrections = said.map((value, i) => value - trust * checked[i]);
  const where = of(groups, places);
  const [centre, error] = meanAndError([...corrections, 1 - trust * all, -trust * all], [...where, {}, {}]);
  const clusters = new Set(where).size;
  const half = clusters > 1 ? critical[clusters - 2] * Math.hypot(error, errorRest) : Infinity;
  const estimate = mean(corrections) + predicted;
  const clip = (value) => Math.min(Math.max(value, 0), 1);
  return {
    estimate,
    low: clip(Math.min(estimate, centre + predicted - half)),
    high: clip(Math.max(estimate, centre + predicted + half)),
  };
}
