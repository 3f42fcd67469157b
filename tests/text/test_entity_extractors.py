"""Every extractor gives entities and relations in the scheme of RadGraph, linked to the vocabulary."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medsynth_cli import modality
from medsynth_cli.errors import MedsynthError
from medsynth_cli.text import extractors, graphs, vocabulary
from medsynth_cli.text.graphs import Graph

CHEST = vocabulary.load(modality.find("chest_xray"), lexicon=True)
PLAIN = vocabulary.load(modality.find("chest_xray"))


def read(extractor: extractors.Extractor, findings: str, impression: str = "") -> Graph:
    (graph,) = extractor.read([{"findings": findings, "impression": impression}])
    texts = {"findings": findings, "impression": impression}
    for entity in graph.entities:
        assert texts[entity.section][entity.start : entity.end] == entity.text
        assert entity.label in graphs.LABELS
    for relation in graph.relations:
        assert relation.kind in graphs.RELATIONS
        assert {relation.source, relation.target} <= set(range(len(graph.entities)))
    return graph


def labels(graph: Graph) -> dict[str, str]:
    """Term -> label; the last mention counts."""
    return {entity.term: entity.label for entity in graph.entities if entity.term}


@pytest.fixture(scope="module")
def rules() -> extractors.Extractor:
    return extractors.load("rules", CHEST)


def test_the_scheme(rules: extractors.Extractor) -> None:
    graph = read(rules, "Mild left basilar opacity, which may represent pneumonia. No effusion.", "Probable mass.")
    assert labels(graph) == {
        "lung_base": "ANAT-DP", "opacity": "OBS-DP", "pneumonia": "OBS-U", "pleural_effusion": "OBS-DA",
        "mass": "OBS-U",
    }  # fmt: skip
    named = [(r.kind, graph.entities[r.source].text, graph.entities[r.target].text) for r in graph.relations]
    assert ("located_at", "opacity", "basilar") in named
    assert ("suggestive_of", "opacity", "pneumonia") in named
    assert {("modifies", "Mild", "opacity"), ("modifies", "left", "opacity")} <= set(named)
    opacity = next(entity for entity in graph.entities if entity.term == "opacity")
    assert (opacity.side, opacity.severity, opacity.asserted) == ("left", "mild", True)


def test_hedged_considered_and_past(rules: extractors.Extractor) -> None:
    texts = {
        "Probable pneumonia.": (False, True),
        "Opacity compatible with pneumonia.": (False, True),
        "Pneumonia versus atelectasis.": (False, True),
        "Pneumonia.": (True, True),
        "Cannot exclude pneumonia.": (False, False),
        "May be due to pneumonia.": (False, False),
        "The differential diagnosis includes atelectasis, edema, pneumonia.": (False, False),
        "Evaluation for pneumonia is limited.": (False, False),
        "History of pneumonia.": (False, False),
        "Family history of pneumonia.": (False, False),
        "No pneumonia.": (False, False),
    }
    for text, expected in texts.items():
        entity = next(e for e in read(rules, text).entities if e.term == "pneumonia")
        assert (entity.asserted, entity.meant) == expected, text


@pytest.mark.parametrize(
    ("text", "term", "label"),
    [
        ("The heart size is mildly enlarged.", "cardiomegaly", "OBS-DP"),
        ("The heart is not enlarged.", "cardiomegaly", "OBS-DA"),
        ("The heart is now borderline in size.", "cardiomegaly", "OBS-DP"),
        ("Heart size XXXX enlarged.", "cardiomegaly", "OBS-DP"),
        ("Severe dextro curvature of the lumbar spine.", "scoliosis", "OBS-DP"),
        ("Calcified right lower lobe granulomata.", "calcified_granuloma", "OBS-DP"),
        ("Stable granulomas.", "granuloma", "OBS-DP"),
        ("Old granulomatous disease.", "granulomatous_disease", "OBS-DP"),
        ("A nodular opacity.", "nodular_opacity", "OBS-DP"),
        ("The PICC line has been removed.", "catheter", "OBS-DA"),
        ("Left chest wall pacemaker.", "implanted_device", "OBS-DP"),
    ],
)
def test_wider_phrases(rules: extractors.Extractor, text: str, term: str, label: str) -> None:
    assert labels(read(rules, text)).get(term) == label


@pytest.mark.parametrize(
    ("text", "term", "side"),
    [
        ("Left basilar scarring or atelectasis.", "atelectasis", "left"),
        ("Left base opacity, likely scarring or atelectasis.", "atelectasis", "left"),
        ("Right basilar airspace disease and effusion.", "pleural_effusion", "right"),
        ("Right pneumothorax and pneumonia.", "pneumonia", None),
        ("Fluffy scarring in the lung apices.", "scarring", "bilateral"),
        ("Granuloma, right upper zone.", "granuloma", "right"),
        ("Left greater than right basilar scarring.", "scarring", "bilateral"),
        ("Severe dextroscoliosis.", "scoliosis", "right"),
        ("The lungs are hyperexpanded. Small effusion.", "pleural_effusion", None),
    ],
)
def test_sides(rules: extractors.Extractor, text: str, term: str, side: str | None) -> None:
    entity = next(e for e in read(rules, text).entities if e.term == term)
    assert entity.side == side


def test_the_lexicon_is_read_and_never_drawn() -> None:
    assert {"catheter", "implanted_device"} <= CHEST.lexicon
    assert not CHEST.lexicon & PLAIN.terms.keys()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("magic", "unknown extractor 'magic'"),
        ("rules:x", "rules has no model"),
        ("hf", "hf needs a model"),
    ],
)
def test_unknown_extractors(name: str, message: str) -> None:
    with pytest.raises(MedsynthError, match=message):
        extractors.load(name, CHEST)
    with pytest.raises(MedsynthError, match="has no setting 'colour'"):
        extractors.load("rules", CHEST, colour="red")


def test_negspacy_reads_the_same_scheme() -> None:
    pytest.importorskip("negspacy")
    extractor = extractors.load("negspacy", CHEST)
    graph = read(extractor, "Mild left basilar opacities. No pneumothorax; possible pneumonia.", "Effusions.")
    assert labels(graph) == {
        "lung_base": "ANAT-DP", "opacity": "OBS-DP", "pneumothorax": "OBS-DA", "pneumonia": "OBS-U",
        "pleural_effusion": "OBS-DP",
    }  # fmt: skip
    opacity = next(entity for entity in graph.entities if entity.term == "opacity")
    assert (opacity.side, opacity.severity) == ("left", "mild")


SENTENCES = {
    "no pneumothorax .": ["O", "OBS-DA", "O"],
    "no effusion .": ["O", "OBS-DA", "O"],
    "left effusion .": ["ANAT-DP", "OBS-DP", "O"],
    "pneumothorax in the lung .": ["OBS-DP", "O", "O", "ANAT-DP", "O"],
    "possible mass .": ["O", "OBS-U", "O"],
    "mass in the lung .": ["OBS-DP", "O", "O", "ANAT-DP", "O"],
}


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A token classifier of two thousand weights in the format of transformers, taught six sentences."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertForTokenClassification, PreTrainedTokenizerFast

    words = sorted({word for sentence in SENTENCES for word in sentence.split()})
    known = {word: number for number, word in enumerate(["[PAD]", "[UNK]", *words])}
    raw = Tokenizer(models.WordLevel(known, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    names = ["O", *graphs.LABELS]
    torch.manual_seed(0)
    model = BertForTokenClassification(
        BertConfig(
            vocab_size=len(known), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
            max_position_embeddings=32, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
            id2label=dict(enumerate(names)), label2id={name: number for number, name in enumerate(names)},
        )
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for step in range(180):
        sentence, marks = list(SENTENCES.items())[step % len(SENTENCES)]
        ids = torch.tensor([[known[word] for word in sentence.split()]])
        loss = model(ids, labels=torch.tensor([[names.index(mark) for mark in marks]])).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    folder = tmp_path_factory.mktemp("tagger")
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="[UNK]", pad_token="[PAD]").save_pretrained(folder)
    return folder


def test_a_token_classifier_from_a_folder(tagger: Path) -> None:
    graph = read(extractors.load(f"hf:{tagger}", CHEST), "no effusion .", "mass in the lung .")
    assert labels(graph) == {"pleural_effusion": "OBS-DA", "mass": "OBS-DP", "lung": "ANAT-DP"}
    assert [(r.kind, graph.entities[r.source].text) for r in graph.relations] == [("located_at", "mass")]


def test_labels_of_a_token_classifier_are_named(tagger: Path, tmp_path: Path) -> None:
    config = json.loads((tagger / "config.json").read_text())
    config["id2label"]["2"] = "B-Finding"
    for file in tagger.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(MedsynthError, match="label Finding is not of RadGraph"):
        read(extractors.load(f"hf:{tmp_path}", CHEST), "mass in the lung .")
    graph = read(extractors.load(f"hf:{tmp_path}", CHEST, labels="Finding=OBS-DP"), "mass in the lung .")
    assert labels(graph)["mass"] == "OBS-DP"
    with pytest.raises(MedsynthError, match="extractor hf:"):
        read(extractors.load(f"hf:{tmp_path / 'none'}", CHEST), "mass")


def test_radgraph_reads_a_local_model(tmp_path: Path) -> None:
    pytest.importorskip("radgraph")
    untaught_radgraph(tmp_path / "radgraph-xl")
    extractor = extractors.load("radgraph", CHEST, cache=str(tmp_path))
    graph = read(extractor, 'There is a left "pleural effusion". No pneumothorax.', "Effusion (large).")
    assert {"pleural_effusion", "pneumothorax"} <= labels(graph).keys()
    assert {relation.kind for relation in graph.relations} & set(graphs.RELATIONS)


def untaught_radgraph(folder: Path) -> None:
    """A model of the radgraph package with random weights, in the files that the package unpacks."""
    import string

    from transformers import BertConfig, BertModel, BertTokenizer

    from medsynth_cli.text.extractors import radgraph as adapter

    adapter._add_transformers_4()
    import torch
    from radgraph.allennlp.data import Vocabulary
    from radgraph.allennlp.modules import text_field_embedders, token_embedders
    from radgraph.dygie.models import dygie

    torch.manual_seed(0)
    bert, letters = folder / "bert", string.ascii_lowercase + string.digits
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    BertTokenizer(vocab={piece: number for number, piece in enumerate(pieces)}).save_pretrained(bert)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(pieces), **size)).save_pretrained(bert)
    model = {
        "modules": {
            "ner": {}, "coref": {"spans_per_word": 0.3, "max_antecedents": 10}, "relation": {"spans_per_word": 0.5},
            "events": {
                "trigger_spans_per_word": 0.3, "argument_spans_per_word": 0.8,
                "loss_weights": {"trigger": 1.0, "arguments": 1.0},
            },
        },
        "feature_size": 4, "max_span_width": 4, "target_task": "ner",
        "feedforward_params": {"num_layers": 1, "hidden_dims": 8, "dropout": 0.0},
        "loss_weights": {"ner": 1.0, "relation": 1.0, "coref": 0.0, "events": 0.0},
    }  # fmt: skip
    reader = {"max_span_width": 4, "token_indexers": {"bert": {"model_name": str(bert), "max_length": 128}}}
    embedder = {"token_embedders": {"bert": {"model_name": str(bert), "max_length": 128}}}
    unused = {"type": "dygie", "embedder": embedder, "initializer": {}, "module_initializer": {}}
    config = {"dataset_reader": reader, "vocabulary": {}, "model": model | unused}
    (folder / "config.json").write_text(json.dumps(config))
    words = folder / "vocabulary"
    words.mkdir()
    (words / "non_padded_namespaces.txt").write_text("*__ner_labels\n*__relation_labels\n*tags\n*labels\n")
    (words / "radgraph-xl__ner_labels.txt").write_text("\n".join(["", *adapter.XL_LABELS]) + "\n")
    (words / "radgraph-xl__relation_labels.txt").write_text("\n".join(adapter.KINDS) + "\n")
    embed = token_embedders.PretrainedTransformerMismatchedEmbedder(model_name=str(bert), max_length=128)
    network = dygie.DyGIE(
        vocab=Vocabulary.from_files(str(words)),
        embedder=text_field_embedders.BasicTextFieldEmbedder({"bert": embed}),
        **json.loads(json.dumps(model)),
    )
    torch.save(network.state_dict(), folder / "weights.th")
