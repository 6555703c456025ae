"""The encoder that a stage starts from: a new one's embeddings may begin where counting says."""

from torch.nn.functional import cosine_similarity

from malmoi.pipeline.encoder_base import EncoderBaseSettings, encoder_base

TEXTS = [f"{animal} 숲에 산다. {city} 멀리 있다." for animal in ("여우는", "토끼는") for city in ("서울은", "부산은")]
SHAPE = {"layers": 1, "width": 16, "heads": 2}


def likeness(directory, counted):
    """The cosine of the embeddings of two animals, which stand beside the same words."""
    settings = EncoderBaseSettings(model=SHAPE, vocabulary=305, counted=counted)
    body, tokenizer = encoder_base(settings, TEXTS * 8, directory, seed=0)
    fox, hare = (body.embedding.weight[tokenizer.encode(name)[0]] for name in ("여우는", "토끼는"))
    return cosine_similarity(fox, hare, dim=0).item()


def test_counted_embeddings_of_words_with_the_same_neighbours_are_alike(tmp_path):
    assert likeness(tmp_path, counted=True) > 0.9 > likeness(tmp_path, counted=False)
