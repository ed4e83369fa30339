"""What is drawn of a model is what was given."""

import numpy as np
import pytest
from attention_maps import AttentionMap
from network_figures import MAX_HEADS, draw_attention, draw_blocks


def make_map(num_heads=8, num_frames=25, step=0.08):
    rng = np.random.default_rng(num_heads)
    weights = rng.dirichlet(np.ones(num_frames), num_heads).T
    return AttentionMap(
        weights,
        step * np.arange(num_frames + 1),
        rng.normal(size=(8 * num_frames, 40)),
        np.linspace(100, 7000, 40),
    )


def steps(axes):
    """Values and edges of what is filled or outlined, in order."""
    return [patch.get_data() for patch in axes.patches]


@pytest.mark.parametrize("num_heads", [1, 4, 8])
def test_the_weights_drawn_are_the_weights(num_heads):
    attention_map = make_map(num_heads)
    axes = draw_attention(attention_map, None, "").axes
    spectrogram, *heads, average, _ = axes
    assert len(heads) == min(num_heads, MAX_HEADS)
    for head, weights in zip(heads, attention_map.weights.T, strict=False):
        ((values, edges, _),) = steps(head)
        np.testing.assert_array_equal(values, weights)
        np.testing.assert_array_equal(edges, attention_map.frame_edges)
    ((values, _, _),) = steps(average)
    np.testing.assert_array_equal(values, attention_map.weights.mean(axis=1))
    (image,) = spectrogram.images
    np.testing.assert_array_equal(image.get_array(), attention_map.feats.T)
    assert {head.get_xlim() for head in heads} == {spectrogram.get_xlim()}
    assert spectrogram.get_xlim() == (0, attention_map.frame_edges[-1])


def test_hertz_stand_at_their_bands():
    spectrogram = draw_attention(make_map(), None, "").axes[0]
    step = (7000 - 100) / 39  # Hz from one band of the map to the next
    for text, place in zip(
        spectrogram.get_yticklabels(), spectrogram.get_yticks(), strict=True
    ):
        hertz = float(text.get_text().replace(",", ""))
        assert place == pytest.approx((hertz - 100) / step)


def test_a_single_head_is_drawn_over_the_average():
    many, single = make_map(8), make_map(1)
    figure = draw_attention(many, single, "")
    filled, outlined = steps(figure.axes[-2])
    np.testing.assert_array_equal(filled[0], many.weights.mean(axis=1))
    np.testing.assert_array_equal(outlined[0], single.weights[:, 0])
    assert figure.axes[-2].get_ylim()[1] > single.weights.max()


@pytest.mark.parametrize("single", [make_map(2), make_map(1, num_frames=50)])
def test_weights_that_do_not_compare_are_refused(single):
    with pytest.raises(ValueError, match="give one with one head"):
        draw_attention(make_map(), single, "")


def rates_of(label, eers, with_heads):
    points = [
        {
            "block": block,
            "eer_percent": eer,
            "eer_interval_percent": [eer - 1, eer + 2],
        }
        for block, eer in enumerate(eers, start=1)
    ]
    return {
        "label": label,
        "statistics": points,
        "heads": points[1:] if with_heads else [],
        "final": points[0],
    }


def test_every_block_has_its_rate_and_its_interval():
    models = [
        rates_of("a", [9.0, 8.0, 7.0], True),
        rates_of("b", [6.0, 5.0], False),
    ]
    figure = draw_blocks({"models": models}, "")
    (axes,) = figure.axes
    drawn = [container.lines[0].get_data() for container in axes.containers]
    bars = [
        [segment[:, 1] for segment in container.lines[2][0].get_segments()]
        for container in axes.containers
    ]
    expected = [[9, 8, 7], [9], [8, 7], [6, 5], [6]]
    assert [list(y) for _, y in drawn] == expected
    for container, eers in zip(bars, expected, strict=True):
        for bar, eer in zip(container, eers, strict=True):
            np.testing.assert_allclose(bar, [eer - 1, eer + 2])
    places = [np.array(x, dtype=float).round() for x, _ in drawn]
    assert [list(places[i]) for i in (0, 2, 4)] == [[1, 2, 3], [2, 3], [4]]
    lines = [container.lines[0] for container in axes.containers]
    assert lines[0].get_linestyle() != lines[2].get_linestyle()
    assert lines[0].get_marker() != lines[3].get_marker()
    assert drawn[0][0][0] != drawn[3][0][0]  # bars stand side by side
    figure.draw_without_rendering()


def test_one_model_of_one_block_is_drawn():
    model = rates_of("a", [9.0], False)
    draw_blocks({"models": [model]}, "").draw_without_rendering()


def test_an_interval_beside_its_rate_has_no_bar_on_that_side():
    """As the bias-corrected bootstrap may give for few speakers."""
    model = rates_of("a", [9.0], False)
    model["final"] = {"eer_percent": 5.0, "eer_interval_percent": [6.0, 7.0]}
    axes = draw_blocks({"models": [model]}, "").axes[0]
    (bar,) = axes.containers[1].lines[2][0].get_segments()
    np.testing.assert_allclose(bar[:, 1], [5.0, 7.0])
