"""The report's own words in English and Korean."""

from __future__ import annotations

from typing import Literal, TypeAlias

Language: TypeAlias = Literal["en", "ko"]

WORDS: dict[str, tuple[str, str]] = {
    "closing": (
        "Written by malmoi {version}. This page is one file; it loads nothing from anywhere.",
        "malmoi {version}이 만들었습니다. 이 페이지는 파일 하나이며 어디에서도 아무것도 불러오지 않습니다.",
    ),
    "summary": ("Grown in {time} on {machine}.", "{machine}에서 {time} 만에 길러 낸 모델입니다."),
    "cores": ("{count} cores", "코어 {count}개"),
    "step": ("step", "단계"),
    "source": ("source", "출처"),
    "all sources": ("all sources", "모든 출처"),
    "document": ("documents", "문서"),
    "tokens": ("tokens", "토큰"),
    "bytes": ("UTF-8 bytes", "UTF-8 바이트"),
    "class": ("class", "분류"),
    # what was run
    "run": ("What was run", "무엇을 돌렸나"),
    "run.lede": (
        "Every stage with what it took, and the machine that it ran on.",
        "각 단계에 든 시간과 메모리, 그리고 쓰인 컴퓨터입니다.",
    ),
    "stage": ("stage", "단계"),
    "time": ("time", "시간"),
    "memory": ("peak memory", "최대 메모리"),
    "total": ("total", "합계"),
    "processor": ("processor", "프로세서"),
    "memory.machine": ("memory", "메모리"),
    "instructions": ("instruction sets", "명령어 집합"),
    "system": ("system", "운영 체제"),
    "versions": ("versions", "버전"),
    "tile.time": ("from beginning to end", "처음부터 끝까지"),
    "tile.memory": ("at most {size} of memory", "최대 메모리 {size}"),
    # text
    "text": ("The text", "글"),
    "text.lede": (
        "Where the text comes from, what may be done with it, and what became of every document.",
        "글이 어디에서 왔고 어떤 조건으로 쓸 수 있으며, 문서 하나하나가 어떻게 되었는지 보입니다.",
    ),
    "licence": ("licence", "이용 조건"),
    "language": ("language", "언어"),
    "about": ("what it is", "내용"),
    "files": ("download", "내려받은 크기"),
    "kept.bytes": ("text kept", "남은 글"),
    "train": ("training", "학습용"),
    "held_out": ("held out", "평가용"),
    "funnel": ("What became of the documents", "문서는 어떻게 되었나"),
    "read": ("read", "읽음"),
    "kept": ("kept", "남김"),
    "empty": ("empty", "비어 있음"),
    "too short": ("too short", "너무 짧음"),
    "undecodable": ("undecodable", "글자가 깨짐"),
    "few letters": ("few letters", "글자가 적음"),
    "excluded": ("excluded", "제외함"),
    "duplicate": ("duplicate", "중복"),
    "near duplicate": ("near duplicate", "거의 같음"),
    "repeated text": ("nothing but repeated lines", "되풀이되는 줄뿐임"),
    "contaminated": ("passage of an evaluation text", "평가 자료와 겹침"),
    # pages of a crawl
    "pages": ("What became of the addresses on the web", "웹 주소는 어떻게 되었나"),
    "addresses": ("addresses seen", "찾은 주소"),
    "redirect": ("leads elsewhere", "다른 주소로 이동"),
    "redirects without end": ("leads elsewhere without end", "끝없이 이동"),
    "same content": ("same content as another page", "다른 페이지와 같은 내용"),
    "other host": ("another host", "다른 호스트"),
    "too deep": ("too many links away", "링크를 너무 많이 거침"),
    "sitemap": ("sitemap", "사이트맵"),
    "no sitemap": ("no sitemap", "사이트맵이 아님"),
    "sitemap too deep": ("sitemap too deep", "사이트맵이 너무 깊음"),
    "content type": ("not of a type that is read", "읽지 않는 형식"),
    "too large": ("too large", "너무 큼"),
    "too slow": ("too slow", "너무 느림"),
    "private address": ("private address", "사설 주소"),
    "no such host": ("no such host", "없는 호스트"),
    "certificate": ("certificate not valid", "인증서가 올바르지 않음"),
    "out of reach": ("out of reach", "닿지 않음"),
    "robots.txt": ("robots.txt forbids it", "robots.txt가 금지함"),
    "robots.txt out of reach": ("robots.txt out of reach", "robots.txt에 닿지 않음"),
    "come back later": ("asked to come back later", "나중에 오라고 함"),
    "time limit": ("time was up", "시간이 다 됨"),
    "limit of megabytes": ("enough bytes of the host", "호스트의 크기 한계"),
    "limit of pages": ("enough pages of the host", "호스트의 쪽수 한계"),
    "noindex": ("the page asks not to be kept", "페이지가 수집을 거절함"),
    "failed": ("failed", "실패"),
    "surplus": ("beyond the source's share", "출처의 몫을 넘음"),
    "words": ("number of words", "낱말 수"),
    "mean_word_least": ("words too short", "낱말이 너무 짧음"),
    "mean_word_most": ("words too long", "낱말이 너무 긺"),
    "replaced": ("replaced characters", "깨진 글자"),
    "long_runs": ("long runs", "끊기지 않는 글자열"),
    "short_lines": ("short lines", "짧은 줄"),
    "bullet_lines": ("bullet lines", "글머리표 줄"),
    "ellipsis_lines": ("ellipsis lines", "줄임표로 끝나는 줄"),
    "duplicate_lines": ("repeated lines", "되풀이되는 줄"),
    "symbols": ("symbols", "기호"),
    "letters": ("letters", "글자 비율"),
    "sentence_ends": ("sentence ends", "문장의 끝"),
    "lorem_ipsum": ("lorem ipsum", "채움 글"),
    "stop_words": ("stop words", "흔한 낱말"),
    "particles": ("particles and endings", "조사와 어미"),
    "distinct_words": ("distinct words", "서로 다른 낱말"),
    "top_2_gram": ("commonest 2-gram", "가장 흔한 2-그램"),
    "top_4_gram": ("commonest 4-gram", "가장 흔한 4-그램"),
    "duplicate_5_grams": ("repeated 5-grams", "되풀이되는 5-그램"),
    "harmful words": ("harmful words", "해로운 말"),
    "rule": ("rule", "규칙"),
    "weight": ("weight asked for", "바란 비율"),
    "dropped.examples": ("examples of what was dropped", "제외한 문서의 예"),
    "unreadable": ("unreadable", "읽지 못함"),
    "unreadable.files": ("{count} files that could not be read", "읽지 못한 파일 {count}개"),
    # tokenizer
    "tokenizer": ("The tokenizer", "토크나이저"),
    "tokenizer.lede": (
        "How text becomes numbers. The fewer tokens a text needs, the further the model sees.",
        "글을 수로 바꾸는 방법입니다. 토큰이 적게 들수록 모델은 더 멀리 봅니다.",
    ),
    "cut": ("How it cuts a text", "글을 자르는 모습"),
    "fact.kind": ("kind", "종류"),
    "fact.vocabulary": ("vocabulary", "어휘 수"),
    "fact.bytes_per_token": ("bytes a token", "토큰당 바이트"),
    "fact.characters_per_token": ("characters a token", "토큰당 글자"),
    "fact.unknown_share": ("unknown tokens", "모르는 토큰 비율"),
    # pretraining
    "fact.family": ("family", "모델 계열"),
    "fact.parameters": ("parameters", "매개변수"),
    "fact.layers": ("layers", "층"),
    "fact.width": ("width", "너비"),
    "fact.context": ("context in tokens", "문맥 (토큰)"),
    "fact.steps": ("steps", "학습 단계"),
    "fact.tokens": ("tokens seen", "읽은 토큰"),
    "fact.tokens_per_second": ("tokens a second", "초당 토큰"),
    "fact.precision": ("precision", "수의 정밀도"),
    "fact.validation_loss": ("held-out loss", "평가 손실"),
    "fact.perplexity": ("perplexity", "혼란도"),
    "trials": ("How its size was chosen", "크기를 고른 방법"),
    "trials.lede": (
        "Each size was tried for a moment on this machine; the loss that scaling laws foresee for it decided.",
        "크기마다 이 컴퓨터에서 잠깐씩 돌려 보고, 규모 법칙이 내다보는 손실로 골랐습니다.",
    ),
    "size": ("layers × width", "층 × 너비"),
    "predicted.loss": ("predicted loss", "예상 손실"),
    "pretrain": ("Training from scratch", "처음부터 기르기"),
    "pretrain.lede": (
        "The base model starts from random numbers and learns to predict the next token.",
        "바탕 모델은 무작위 수에서 출발하여 다음 토큰을 맞히는 법을 배웁니다.",
    ),
    "loss.token": ("Loss (nats a token)", "손실 (토큰당 나트)"),
    "loss.text": ("Loss (nats a text)", "손실 (글당 나트)"),
    "training.loss": ("training", "학습"),
    "validation.loss": ("held out", "평가"),
    "mixture": ("What it was fed", "무엇을 얼마나 읽었나"),
    "share": ("share", "비율"),
    "wanted": ("wanted", "목표"),
    "epochs": ("epochs", "반복"),
    # evaluation
    "evaluate": ("How well it predicts", "얼마나 잘 맞히나"),
    "evaluate.lede": (
        "Bits for each byte of text that the model has never seen; less is better.",
        "모델이 본 적 없는 글의 바이트마다 드는 비트 수입니다. 적을수록 좋습니다.",
    ),
    "bits": ("Bits per byte", "바이트당 비트"),
    "bits.tile": ("bits per byte", "바이트당 비트"),
    "bits.progress": ("Bits per byte while it learns", "배우는 동안의 바이트당 비트"),
    "below": ("below bigram", "바이그램보다 낮음"),
    "below.tile": ("{share} below a bigram model", "바이그램 모델보다 {share} 낮음"),
    "above.tile": ("{share} above a bigram model", "바이그램 모델보다 {share} 높음"),
    "model": ("model", "모델"),
    "uniform": ("uniform", "균등"),
    "unigram": ("unigram", "유니그램"),
    "bigram": ("bigram", "바이그램"),
    "6 bytes": ("6 bytes", "6바이트"),
    "counted": (
        "Every token of every held-out document is counted once. End-of-text stands before a document as context and "
        "is not scored. Bytes that the tokenizer cannot spell cost 8 bits each. The n-gram models are counted on the "
        "training text, “6 bytes” over runs of six bytes; gzip and xz see only the held-out text.",
        "평가용 문서의 모든 토큰을 한 번씩 셉니다. 글 끝 표시는 문서 앞에 문맥으로만 놓이고 세지 않습니다. "
        "토크나이저가 적지 못하는 바이트는 8비트로 칩니다. n-그램은 학습용 글에서 세었고(“6바이트”는 여섯 바이트씩), "
        "gzip과 xz는 평가용 글만 봅니다.",
    ),
    # samples
    "samples": ("Watching it learn", "배우는 모습"),
    "samples.lede": (
        "The same beginnings, continued at several moments of the training.",
        "같은 첫머리를 학습의 여러 순간에 이어 쓰게 하였습니다.",
    ),
    "at.step": ("step {step}", "{step}단계"),
    # classification
    "classify": ("Sorting texts", "글 분류하기"),
    "classify.lede": (
        "Fine-tuned on labelled texts and judged on texts that it has not seen, beside logistic regression.",
        "분류된 글로 미세 조정하고 본 적 없는 글로 평가하였습니다. 로지스틱 회귀와 나란히 둡니다.",
    ),
    "micro_f1": ("F1 over all classes", "모든 분류의 F1"),
    "micro_f1.tile": ("F1 of {name}", "{name} F1"),
    "pearson": ("Correlation with the numbers given", "주어진 수와의 상관"),
    "pearson.tile": ("correlation of {name}", "{name} 상관"),
    "accuracy": ("Accuracy", "정확도"),
    "accuracy.tile": ("accuracy of {name}", "{name} 정확도"),
    "accuracy.note": ("{share} by counting words or characters", "낱말이나 글자를 세면 {share}"),
    "fine-tuned": ("fine-tuned model", "미세 조정한 모델"),
    "control.word": ("regression on words", "낱말 회귀"),
    "control.character": ("regression on characters", "글자 회귀"),
    "majority": ("always the most frequent class", "늘 가장 흔한 분류"),
    "fact.train_texts": ("texts learned", "배운 글"),
    "fact.validation_texts": ("texts to watch", "살펴본 글"),
    "fact.test_texts": ("texts tested", "시험한 글"),
    "precision": ("precision", "정밀도"),
    "recall": ("recall", "재현율"),
    "true": ("true", "실제"),
    "predicted": ("predicted", "예측"),
    # images
    "images": ("Telling images apart", "이미지 가려내기"),
    "images.lede": (
        "A network learned from labelled images and is judged on others, beside methods that see nothing but pixels.",
        "분류된 이미지로 신경망을 학습하고 다른 이미지로 평가하였습니다. 픽셀만 보는 방법과 나란히 둡니다.",
    ),
    "images.regression": ("logistic regression on pixels", "픽셀 로지스틱 회귀"),
    "images.neighbour": ("nearest neighbour on pixels", "픽셀 최근접 이웃"),
    "images.note": ("{share} by the nearest neighbour", "최근접 이웃은 {share}"),
    "images.confusion": ("What was taken for what", "무엇을 무엇으로 보았나"),
    "images.wrong": ("Those that it got wrong, the surest first", "틀린 이미지, 가장 확신한 것부터"),
    "images.wrong.one": ("{true} taken for {predicted} ({share})", "{true}을(를) {predicted}(으)로 봄 ({share})"),
    "images.skipped": ("{count} files that could not be read", "읽지 못한 파일 {count}개"),
    "loss.image": ("Loss (nats an image)", "손실 (이미지당 나트)"),
    "fact.network": ("network", "신경망"),
    "fact.size": ("pixels of a side", "한 변의 픽셀"),
    "fact.train_images": ("images learned", "배운 이미지"),
    "fact.validation_images": ("images to watch", "살펴본 이미지"),
    "fact.test_images": ("images tested", "시험한 이미지"),
    "fact.trained_parameters": ("parameters trained", "학습한 매개변수"),
    "fact.frozen_unchanged": ("frozen part unchanged to the bit", "얼린 부분이 비트까지 그대로인가"),
    "made": ("Images out of noise", "잡음에서 나온 이미지"),
    "made.lede": (
        "A generator learned from nothing but the verdicts of a discriminator, which learned to tell its images from "
        "real ones. Another network, which had no part in this, says what it sees.",
        "생성기는 판별기의 판정만으로 배웠고, 판별기는 진짜와 만든 것을 가려내는 법을 배웠습니다. 학습에 끼지 않은 "
        "다른 신경망이 무엇이 보이는지 말합니다.",
    ),
    "made.progress": ("The same noise at several moments", "같은 잡음을 여러 순간에"),
    "made.beside": ("Beside real images and two controls", "진짜 이미지와 두 대조군 옆에서"),
    "made.made": ("generator", "생성기"),
    "made.held_out": ("real images, held out", "떼어 둔 진짜 이미지"),
    "made.gaussian": ("each pixel drawn alone", "픽셀마다 따로 뽑음"),
    "made.means": ("mean of each class", "분류별 평균"),
    "made.shares": ("What the judge sees in {count} images", "판정자가 이미지 {count}장에서 본 것"),
    "made.images": ("images", "이미지"),
    "made.sure": ("judge is sure of", "판정자가 확신"),
    "made.least": ("rarest class", "가장 드문 분류"),
    "made.real": ("like a real one", "진짜 같음"),
    "made.variety": ("real ones covered", "진짜를 덮은 비율"),
    "made.nearest": ("distance to the nearest", "가장 가까운 것까지의 거리"),
    "made.counted": (
        "Sure is a probability of {sure} or more; the rarest class counts what the judge sees first, sure or not. An "
        "image is like a real one if it is as near to a learned image as that one's third neighbour, and a learned "
        "image is covered if the same holds the other way round. Copies would be at no distance. The judge alone tells "
        "little, as both controls show: single pixels are like no real image, and means cover none.",
        "확신은 확률 {sure} 이상입니다. 가장 드문 분류는 확신과 상관없이 판정자의 첫 답을 셉니다. 학습 이미지 하나에 "
        "그 이미지의 세 번째 이웃만큼 가까우면 진짜 같다고 보고, 거꾸로도 그러하면 그 학습 이미지를 덮은 것으로 "
        "봅니다. 베낀 이미지라면 거리가 없습니다. 두 대조군에서 보듯 판정만으로는 알 수 있는 것이 적습니다. 픽셀마다 "
        "따로 뽑으면 진짜 같지 않고, 평균은 진짜를 덮지 못합니다.",
    ),
    "made.tile": ("share of the rarest class", "가장 드문 분류의 비율"),
    "made.tile.note": ("the judge is sure of {share}", "판정자가 확신한 것은 {share}"),
    "made.losses": ("Losses on held-out images (nats an image)", "떼어 둔 이미지의 손실 (이미지당 나트)"),
    "made.generator": ("generator", "생성기"),
    "made.discriminator": ("discriminator", "판별기"),
    "fact.generator_parameters": ("parameters of the generator", "생성기의 매개변수"),
    "fact.discriminator_parameters": ("parameters of the discriminator", "판별기의 매개변수"),
    # assistant
    "instruct": ("Answering", "대답하기"),
    "instruct.lede": (
        "The same questions before and after fine-tuning on dialogues; only the answers were learned.",
        "대화로 미세 조정하기 전과 후에 같은 물음을 던졌습니다. 대답만 배웠습니다.",
    ),
    "before": ("before", "이전"),
    "after": ("after", "이후"),
    "answers.tile": ("loss on held-out answers", "평가용 대답의 손실"),
    "answers.note": ("{loss} before fine-tuning", "미세 조정 전에는 {loss}"),
    "fact.dialogues": ("dialogues learned", "배운 대화"),
    "fact.held_out_dialogues": ("dialogues held out", "평가용 대화"),
    "fact.learned_tokens": ("answer tokens", "대답 토큰"),
    "fact.train": ("trained weights", "조정한 가중치"),
    "fact.loss_before": ("loss before", "이전 손실"),
    "fact.loss_after": ("loss after", "이후 손실"),
    # compare
    "compare": ("Models beside each other", "나란히 본 모델들"),
    "compare.lede": (
        "The same text read by each model, and what a step of training costs it. A model that sees further should do "
        "better towards the end of the context.",
        "모델마다 같은 글을 읽은 손실과 학습 한 걸음의 비용입니다. 멀리 보는 모델은 문맥 뒤쪽에서 더 나아야 합니다.",
    ),
    "compare.model": ("model", "모델"),
    "compare.mixing": ("how layers look back", "층이 앞을 보는 방법"),
    "compare.loss": ("loss a token", "토큰당 손실"),
    "compare.of_first": ("of the first", "첫 모델 대비"),
    "compare.seconds": ("seconds a step", "한 걸음의 초"),
    "compare.kept": ("MiB kept", "남긴 MiB"),
    "compare.along": ("Loss against position in the context", "문맥 안의 위치에 따른 손실"),
    "compare.position": ("position", "위치"),
    "compare.counted": (
        "Held-out text, {rows} rows of {context} tokens. Seconds are processor time, medians of steps that took "
        "turns in one process; MiB kept are what a step keeps for its gradient.",
        "떼어 둔 글, {context}토큰짜리 {rows}줄. 초는 한 프로세스에서 번갈아 잰 프로세서 시간의 중앙값이고, 남긴 MiB는 "
        "기울기를 위해 간직한 값의 크기입니다.",
    ),
    "compare.minutes": ("minutes of training", "학습한 분"),
    "compare.trains": ("learns, tokens a second", "학습, 초당 토큰"),
    "compare.writes": ("writes at {length}, tokens a second", "{length}에서 쓰기, 초당 토큰"),
    "compare.cache": ("kept at {length}", "{length}에서 간직하는 크기"),
    "compare.learning": ("Held-out loss while they learn (nats a token)", "배우는 동안의 평가 손실 (토큰당 나트)"),
    "compare.generation.counted": (
        "Bits per byte of all held-out text; a GPT sees half of its context or more before each token, a model with a "
        "state carries it through. Minutes and tokens are those of the training as it went. Tokens a second are of "
        "processor time, models taking turns: a step of training without its update, and single tokens written behind "
        "a text of that length. A GPT with a shorter context is timed as if it were long enough; what it writes there "
        "is worth nothing.",
        "바이트당 비트는 떼어 둔 글 전체에서 셌습니다. GPT는 토큰마다 문맥의 절반 이상을 보고, 상태를 지닌 모델은 "
        "상태를 끝까지 이어 갑니다. 분과 토큰은 실제 학습의 값입니다. 초당 토큰은 모델들이 번갈아 쓴 프로세서 "
        "시간으로, 갱신을 뺀 학습 한 걸음과 그 길이의 글 뒤에 한 토큰씩 쓴 것을 잰 값입니다. 문맥이 짧은 GPT도 "
        "넉넉한 것처럼 재는데, 거기서 쓰는 글은 쓸모가 없습니다.",
    ),
    # translation
    "translation": ("Translating", "번역하기"),
    "translation.lede": (
        "Trained from scratch on pairs of texts and asked for texts it has not seen, beside a dictionary that the same "
        "pairs give word by word, and the source as it is.",
        "글과 번역의 쌍으로 처음부터 길러 본 적 없는 글을 옮기게 하였습니다. 같은 쌍에서 얻은 사전으로 낱말마다 "
        "옮긴 것과 원문 그대로를 나란히 둡니다.",
    ),
    "translation.tile": ("{figure} of {name}", "{name} {figure}"),
    "translation.note": ("{value} word by word", "낱말마다 옮기면 {value}"),
    "translation.dictionary": ("word by word", "낱말마다"),
    "translation.copy": ("source as it is", "원문 그대로"),
    "translation.translator": ("translator", "번역기"),
    "translation.text": ("text", "글"),
    "translation.wanted": ("translation in the data", "자료의 번역"),
    "translation.read": ("Translations of texts it has not seen", "본 적 없는 글의 번역"),
    "translation.best": ("best", "가장 나은 것"),
    "translation.random": ("random", "무작위"),
    "translation.worst": ("worst", "가장 못한 것"),
    "translation.attention": ("Where it looks", "어디를 보나"),
    "translation.looks": (
        "Each row is a word as it is being written. The darker a field, the more the last layer of the decoder looks "
        "at the word of the source above it; ⏎ is the end of a text.",
        "가로줄은 써 나가는 낱말 하나입니다. 칸이 짙을수록 디코더의 마지막 층이 위에 적힌 원문의 낱말을 많이 "
        "봅니다. ⏎는 글의 끝입니다.",
    ),
    "translation.left_out": ("Pairs that were left out: {counts}.", "쓰지 않은 쌍: {counts}."),
    "left_out.empty side": ("one side empty", "한쪽이 빔"),
    "left_out.undecodable": ("undecodable", "글자가 깨짐"),
    "left_out.repeated": ("repeated", "되풀이"),
    "left_out.held out too": ("one side is held out too", "한쪽이 평가용에도 있음"),
    "left_out.too long": ("too long", "너무 김"),
    "translation.counted": (
        "Counted by sacrebleu (BLEU {bleu}; chrF {chrf}) with {beams} beams. The dictionary is IBM's first model, "
        "learned from the same pairs. No text of a held-out pair, of either side, is among those learned from.",
        "sacrebleu로 세었습니다(BLEU {bleu}; chrF {chrf}). 빔은 {beams}개이고, 사전은 같은 쌍에서 배운 IBM 모델 "
        "1입니다. 평가용 쌍의 글은 어느 쪽이든 학습용에 없습니다.",
    ),
    "greedy": ("most probable token", "가장 그럴듯한 토큰"),
    "beams": ("{count} beams", "빔 {count}개"),
    "pairs": ("pairs", "쌍"),
    "fact.train_pairs": ("pairs learned", "배운 쌍"),
    "fact.test_pairs": ("pairs tested", "시험한 쌍"),
    "fact.decoder_layers": ("layers of the decoder", "디코더의 층"),
    "fact.epochs": ("epochs", "반복"),
    "fact.training_seconds": ("seconds of training", "학습한 초"),
    # few-shot
    "few-shot": ("With examples alone", "예시만으로"),
    "few-shot.lede": (
        "The same model, untouched, with none or some solved examples in its prompt.",
        "모델은 그대로 두고 프롬프트에 푼 예시를 넣지 않거나 몇 개 넣었습니다.",
    ),
    "few-shot.counted": (
        "Intervals hold 95 % and know only of the items asked: other examples give other figures. Larger prompts begin "
        "with the examples of the smaller ones, and no asked item is among them. The control needs no model: always "
        "the most frequent label, or the input given back. Exact match leaves case and blanks out; chrF is the F-score "
        "of runs of one to six characters.",
        "구간은 95 %이고 어떤 항목을 물었는지만 헤아립니다. 예시가 바뀌면 수치도 바뀝니다. 긴 프롬프트는 짧은 것의 "
        "예시로 시작하며, 묻는 항목은 예시에 들지 않습니다. 기준은 모델이 필요 없는 값으로, 늘 가장 흔한 답을 고르거나 "
        "입력을 그대로 돌려줍니다. 정확 일치는 대소문자와 빈칸을 따지지 않고, chrF는 한 글자에서 여섯 글자까지 이어진 "
        "글자의 F-점수입니다.",
    ),
    "few-shot.x": ("examples in the prompt", "프롬프트의 예시 수"),
    "few-shot.tile": ("{task}, {shots}-shot", "{task}, 예시 {shots}개"),
    "few-shot.note": ("{value} {shots}-shot", "예시 {shots}개로는 {value}"),
    "few-shot.shots": ("{shots}-shot", "예시 {shots}개"),
    "few-shot.cut": (
        "{count} prompts were longer than the context and lost their beginning.",
        "프롬프트 {count}개는 문맥보다 길어 앞부분을 잘랐습니다.",
    ),
    "few-shot.prompt": ("A prompt of “{task}” with one example", "예시가 하나인 “{task}” 프롬프트"),
    "few-shot.answers": ("Some answers", "대답 몇 가지"),
    "task": ("task", "과제"),
    "asked": ("asked", "물음"),
    "wanted.answer": ("right answer", "정답"),
    "counts": ("what counts", "재는 것"),
    "items": ("items", "항목"),
    "counts.accuracy": ("accuracy", "정확도"),
    "counts.exact": ("exact match", "정확 일치"),
    "counts.chrf": ("chrF", "chrF"),
    "control": ("control", "기준"),
    # classic classifiers
    "classic": ("Before deep learning", "딥 러닝 이전"),
    "classic.lede": (
        "The same texts sorted by what people wrote down, by counting words, and by both.",
        "사람이 적어 둔 특징으로, 낱말을 세어서, 그리고 둘 다로 같은 글을 나누어 봅니다.",
    ),
    "classic.features": ("hand-made features", "손으로 만든 특징"),
    "classic.naive Bayes": ("naive Bayes on words", "낱말 나이브 베이즈"),
    "classic.words": ("logistic regression on words", "낱말 로지스틱 회귀"),
    "classic.words and features": ("words and features", "낱말과 특징"),
    "classic.deep": ("fine-tuned model", "미세 조정한 모델"),
    "classic.story.features": (
        "Somebody looked at the texts and thought of seven things to measure: length, words, capitals, digits, "
        "exclamation marks, links, money. Logistic regression weighs them. Nothing of the words is known.",
        "누군가 글을 보고 잴 것 일곱 가지를 떠올렸습니다. 길이, 낱말 수, 대문자, 숫자, 느낌표, 링크, 돈입니다. "
        "로지스틱 회귀가 그 무게를 정합니다. 낱말은 하나도 모릅니다.",
    ),
    "classic.story.naive Bayes": (
        "Naive Bayes counts how often each word stands in each class, and multiplies as if words knew nothing of "
        "one another.",
        "나이브 베이즈는 낱말마다 어느 분류에 얼마나 나오는지 세고, 낱말끼리 아무 상관이 없는 것처럼 곱합니다.",
    ),
    "classic.story.words": (
        "Logistic regression weighs all words and pairs of words against each other: what every fine-tuned model here "
        "is put beside.",
        "로지스틱 회귀는 모든 낱말과 낱말 쌍의 무게를 함께 정합니다. 여기서 미세 조정한 모델마다 나란히 "
        "두는 기준입니다.",
    ),
    "classic.story.words and features": (
        "With the features beside the words it sees both what is said and how it is written.",
        "낱말 옆에 특징을 두면 무엇을 말하는지와 어떻게 적었는지를 함께 봅니다.",
    ),
    "classic.story.deep": (
        "A fine-tuned model reads the text in its order and was given no feature at all.",
        "미세 조정한 모델은 글을 차례대로 읽으며, 아무 특징도 받지 않았습니다.",
    ),
    "classic.features.title": ("What the features see: means of the training texts", "특징이 보는 것: 배운 글의 평균"),
    "classic.feature": ("feature", "특징"),
    "feature.characters": ("characters", "글자 수"),
    "feature.words": ("words", "낱말 수"),
    "feature.capitals": ("share of capitals", "대문자 비율"),
    "feature.digits": ("share of digits", "숫자 비율"),
    "feature.exclamation marks": ("exclamation marks", "느낌표"),
    "feature.links": ("links", "링크"),
    "feature.money": ("sums of money", "돈 표시"),
    # distillation
    "distil": ("What a teacher gives", "교사가 보탠 것"),
    "distil.lede": (
        "A smaller model learned what a larger one answers. The control is the same small model after the same steps "
        "without a teacher: the teacher is worth what lies between them.",
        "작은 모델이 큰 모델의 답을 배웠습니다. 대조는 같은 작은 모델을 같은 단계만큼 교사 없이 학습한 것이며, "
        "둘의 차이가 교사의 몫입니다.",
    ),
    "distil.loss": ("Loss on held-out text, nats a token", "평가용 글에서의 손실, 토큰당 내트"),
    "distil.accuracy": ("Accuracy on other texts", "다른 글에서의 정확도"),
    "distil.teacher": ("teacher", "교사"),
    "distil.student": ("student", "학생"),
    "distil.control": ("without a teacher", "교사 없이"),
    "distil.tile": ("of the gap to the teacher closed", "만큼 교사와의 차이를 좁힘"),
    "distil.note": ("{share} of the teacher's numbers", "교사의 파라미터 대비 {share}"),
    "fact.temperature": ("temperature", "온도"),
    "fact.alpha": ("weight of the teacher", "교사의 가중치"),
    "fact.hidden": ("weight of hidden states", "은닉 상태의 가중치"),
    # encoders
    "pretrain-encoder": ("Guessing hidden words", "가린 낱말 맞히기"),
    "pretrain-encoder.lede": (
        "An encoder reads both ways: some words of every text are hidden, and it learns to guess them.",
        "인코더는 글을 양쪽으로 읽습니다. 글마다 낱말 몇 개를 가리고 맞히는 법을 배웁니다.",
    ),
    "loss.item": ("Loss (nats an item)", "손실 (항목당 나트)"),
    "objective.masked": ("Hidden words guessed", "맞힌 가린 낱말"),
    "objective.next-sentence": ("Does the second half go on?", "뒷부분이 앞에서 이어지나"),
    "objective.sentence-order": ("Do the halves stand in their order?", "앞뒤 순서가 맞나"),
    "control.unigram": ("always the most frequent token", "늘 가장 흔한 토큰"),
    "control.neighbours": ("counting neighbours", "이웃 토큰 세기"),
    "control.half": ("guessing", "찍기"),
    "masked.counted": (
        "Accuracy over the tokens to be guessed in held-out text, the same ones for all. Of ten of them eight are "
        "hidden, one is replaced and one left as it is. Counting takes what stands there unless it is hidden, else the "
        "token most often seen between the two neighbours, beside one of them, or at all.",
        "평가용 글에서 맞혀야 할 토큰의 정확도이며 모두 같은 토큰입니다. 열에 여덟은 가리고 하나는 바꾸고 하나는 "
        "그대로 둡니다. 세기는 가려지지 않았으면 보이는 토큰을, 가려졌으면 두 이웃 사이, 한쪽 이웃 옆, "
        "전체에서 가장 자주 본 토큰을 고릅니다.",
    ),
    "masked.tile": ("of hidden words guessed", "가린 낱말을 맞힘"),
    "masked.note": ("{share} by counting neighbours", "이웃을 세면 {share}"),
    "guesses": ("Some guesses", "맞혀 본 낱말"),
    "guess.text": ("text", "글"),
    "guess.right": ("stood there", "정답"),
    "guess.model": ("guesses, the best first", "추측 (좋은 것부터)"),
    # scaling
    "scaling": ("What size and text are worth", "크기와 글의 값어치"),
    "scaling.lede": (
        "Small models of several sizes learned from texts of several lengths. The law that they follow foretold the "
        "loss of a larger one, which was trained after that.",
        "여러 크기의 작은 모델이 여러 길이의 글로 배웠습니다. 이들이 따르는 법칙으로 더 큰 모델의 손실을 먼저 내다본 "
        "다음에 그 모델을 학습하였습니다.",
    ),
    "scaling.chart": ("Held-out loss over parameters (nats a token)", "매개변수에 따른 평가 손실 (토큰당 나트)"),
    "scaling.tokens": ("{count} tokens", "토큰 {count}개"),
    "scaling.law": ("law, {count} tokens", "법칙, 토큰 {count}개"),
    "scaling.next": ("the next size", "다음 크기"),
    "scaling.predicted": ("predicted", "예상"),
    "scaling.reached": ("reached", "실제"),
    "scaling.off": ("off", "차이"),
    "scaling.operations": ("by a power law in N × D alone", "N × D만의 거듭제곱 법칙으로"),
    "scaling.control": ("largest of the ladder", "가장 큰 사다리 모델"),
    "scaling.formula": (
        "Loss = {floor} + {a} / N^{alpha} + {b} / D^{beta}, N parameters and D tokens; it misses what it was fitted to "
        "by {error}. With any one training left out it would have predicted {low} to {high}.",
        "손실 = {floor} + {a} / N^{alpha} + {b} / D^{beta}. N은 매개변수, D는 토큰입니다. 맞춘 점들과는 {error} "
        "어긋납니다. 학습 하나를 빼고 맞추면 {low}에서 {high}까지를 내다봅니다.",
    ),
    "scaling.shapes": ("Depth against width", "깊이와 너비"),
    "scaling.expected": ("the law expects", "법칙의 예상"),
    "scaling.counted": (
        "Parameters are those that compute, without the embedding table. The law is that of Hoffmann and others "
        "(2022), fitted to relative errors. It holds near what it was fitted to: this text, this context, these rates.",
        "매개변수는 임베딩 표를 뺀, 계산에 쓰이는 것만 셉니다. Hoffmann 등(2022)의 식을 상대 오차에 맞추었습니다. 맞춘 "
        "범위 가까이에서, 이 글과 이 문맥과 이 학습률에서만 믿을 만합니다.",
    ),
    # tune
    "tune": ("What it learns best with", "무엇으로 가장 잘 배우나"),
    "tune.lede": (
        "The same training again and again, each trial with other settings; the best of them is a recipe of its own.",
        "같은 학습을 설정만 바꾸어 거듭하였습니다. 가장 좋은 시도는 그대로 레시피가 됩니다.",
    ),
    "tune.tile": ("{measure}, the best trial", "{measure}, 가장 좋은 시도"),
    "tune.tile.note": ("{value} with the recipe as it is", "레시피 그대로는 {value}"),
    "tune.trials": ("Trials in their order", "차례대로 본 시도"),
    "tune.trial": ("trial", "시도"),
    "tune.finished": ("finished", "끝까지 학습"),
    "tune.stopped": ("stopped on the way", "도중에 멈춤"),
    "tune.failed": ("failed", "실패"),
    "tune.best": ("best so far", "지금까지 가장 좋음"),
    "tune.first": ("as it is", "그대로"),
    "tune.importance": ("How much each setting decides", "설정마다 얼마나 결정하나"),
    "tune.learning": ("Held-out loss while they learn", "배우는 동안의 평가 손실"),
    "tune.all": ("all trials", "모든 시도"),
    "tune.validation": ("twelfths of the training", "학습의 12분의 몇"),
    "tune.table": ("The best trials", "가장 좋은 시도들"),
    "tune.counted": (
        "The first trial is the recipe as it is; those after it are drawn at random first, and then where what was "
        "found promises most (a tree-structured Parzen estimator). A trial that is worse than half of the others at "
        "the same point of its training is stopped. How much a setting decides is told by fANOVA from the trials "
        "that finished: with few of them it is a hint, no more. Two that differ by less than two seeds do are equal.",
        "첫 시도는 레시피 그대로이고, 그다음은 처음에는 무작위로, 나중에는 지금까지의 결과가 가장 나아 보이는 "
        "곳에서 고릅니다(TPE). 학습의 같은 지점에서 다른 시도의 절반보다 나쁘면 도중에 멈춥니다. 설정이 얼마나 "
        "결정하는지는 끝까지 학습한 시도에서 fANOVA로 셉니다. 시도가 적으면 실마리일 뿐입니다. 시드만 바꾼 "
        "차이보다 작은 차이는 없는 것으로 봅니다.",
    ),
    "tune.run": ("Train with the best settings.", "가장 좋은 설정으로 학습합니다."),
    # questions
    "questions": ("Answers in passages", "지문에서 답 찾기"),
    "questions.lede": (
        "Questions about passages that it has not seen. Counting words answers where most of a question's words stand.",
        "처음 보는 지문에 대한 질문입니다. 낱말 세기는 질문의 낱말이 가장 많이 모인 곳에서 답을 찾습니다.",
    ),
    "questions.f1": ("F1, questions that have an answer", "F1, 답이 있는 질문"),
    "questions.exact_match": ("exact match, questions that have an answer", "완전 일치, 답이 있는 질문"),
    "questions.left_unanswered": ("without an answer, and none is given", "답이 없는 질문에 답하지 않음"),
    "questions.wrongly_unanswered": ("with an answer, and none is given", "답이 있는 질문에 답하지 않음"),
    "questions.control": ("counting words", "낱말 세기"),
    "questions.unit.word": (
        "F1 counts the words that an answer shares with the one wanted, as SQuAD does.",
        "F1은 SQuAD처럼 정답과 같은 낱말을 셉니다.",
    ),
    "questions.unit.character": (
        "F1 counts the characters that an answer shares with the one wanted, as KorQuAD does.",
        "F1은 KorQuAD처럼 정답과 같은 글자를 셉니다.",
    ),
    "questions.threshold": (
        "{count} questions have no answer in the passage that they are asked about. From which score on an answer is "
        "given was chosen on other questions.",
        "질문 {count}개는 지문에 답이 없습니다. 답할 점수의 기준은 다른 질문으로 골랐습니다.",
    ),
    "questions.tile": ("F1 of {name}", "{name} F1"),
    "questions.note": ("{share} by counting words", "낱말 세기는 {share}"),
    "questions.right": ("Right answers", "맞은 답"),
    "questions.partly": ("Answers that are partly right", "일부만 맞은 답"),
    "questions.wrong": ("Wrong answers", "틀린 답"),
    "questions.none": ("Rightly left unanswered", "답이 없음을 안 질문"),
    "questions.answered": ("It says: {answer}. Wanted: {wanted}.", "모델의 답: {answer}. 정답: {wanted}."),
    "questions.no_answer": ("no answer", "답 없음"),
    "fact.train_questions": ("questions to learn from", "학습 질문"),
    "fact.made_questions": ("made of passages", "지문으로 만든 질문"),
    "fact.validation_questions": ("questions to choose by", "검증 질문"),
    "fact.test_questions": ("questions to test on", "평가 질문"),
    # next
    "next": ("What to do next", "다음에 할 일"),
    "chat": ("Talk to the assistant in the terminal.", "터미널에서 비서와 이야기합니다."),
    "serve": (
        "Open the chat page, and serve OpenAI's API on this machine.",
        "채팅 페이지를 열고 이 컴퓨터에서 OpenAI API를 제공합니다.",
    ),
    "generate": ("Let the base model continue a text.", "바탕 모델이 글을 이어 쓰게 합니다."),
    "predict.images": ("Name the class of an image file.", "이미지 파일의 클래스를 알아봅니다."),
    "prompt.example": ("Once upon a time", "옛날 옛적에"),
    "translate": ("Translate a text, or the lines of a file.", "글이나 파일의 줄을 번역합니다."),
    "answer": ("Find the answer to a question in a text.", "글에서 질문의 답을 찾습니다."),
    "question.example": ("When does it begin?", "언제 시작하나요?"),
    "own": ("Grow a model from a folder of your own text.", "내 글이 담긴 폴더로 모델을 기릅니다."),
    # settings
    "settings": ("All settings", "모든 설정"),
    "settings.lede": (
        "What every stage was told, derived numbers included.",
        "각 단계에 주어진 설정과 계산된 값입니다.",
    ),
    # compression
    "compress": ("The same model, smaller", "더 작아진 같은 모델"),
    "compress.lede": (
        "Fewer numbers, or numbers of fewer bits; what each model takes and what is left of its quality.",
        "숫자를 줄이거나 숫자의 비트를 줄였습니다. 각 모델이 차지하는 자리와 남은 품질을 나란히 보입니다.",
    ),
    "compress.methods": ("{base}: {methods}.", "{base}: {methods}."),
    "compress.tile": ("of the bytes on disk", "디스크에서 차지하는 비율"),
    "compress.original": ("original", "원래 모델"),
    "compress.compressed": ("compressed", "압축한 모델"),
    "compress.file_bytes": ("weights on disk", "디스크의 가중치"),
    "compress.peak_memory": ("peak memory", "최대 메모리"),
    "compress.milliseconds": ("ms for tokens: {length}", "토큰 {length}개에 드는 밀리초"),
    "compress.bits_per_byte": ("bits per byte", "바이트당 비트"),
    "compress.accuracy": ("accuracy", "정확도"),
    "compress.micro_f1": ("micro F1", "마이크로 F1"),
    "compress.pearson": ("correlation", "상관 계수"),
    "compress.control": ("the same, trained on for {steps} steps too", "원래 모델도 {steps}걸음 더 학습했을 때"),
    "compress.bigram": ("bits per byte of a bigram model", "바이그램 모델의 바이트당 비트"),
    "compress.uncompared": ("Quality is not compared. {why}", "품질은 비교하지 않습니다. {why}"),
    "compress.counted": (
        "Bits per byte and accuracy are on text that neither model learned from. Times are medians of one process in "
        "which the two take turns. Memory is what a fresh process takes, beyond the program itself, to open the model "
        "and to read one row of text.",
        "바이트당 비트와 정확도는 두 모델이 배우지 않은 글에서 잽니다. 시간은 한 프로세스에서 번갈아 잰 중앙값입니다. "
        "메모리는 새 프로세스가 모델을 열고 글 한 줄을 읽는 데 프로그램 자체보다 더 쓴 만큼입니다.",
    ),
}
"""Key -> (English, Korean)."""


class Words:
    """Looks words up in one language: `say("at.step", step=100)`."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self._place = 0 if language == "en" else 1

    def __call__(self, key: str, **values: object) -> str:
        """The words behind `key`; a key that the table does not have stands for itself."""
        words = WORDS.get(key)
        return words[self._place].format(**values) if words else key

    def duration(self, seconds: float) -> str:
        """Seconds as people say them: 42 s, 13 min 20 s, 2 h 5 min."""
        units = ("h", "min", "s") if self.language == "en" else ("시간", "분", "초")
        space = " " if self.language == "en" else ""
        if 0 < seconds < 10:
            return f"{seconds:.1f}{space}{units[2]}"
        whole = round(seconds)
        parts = [whole // 3600, whole % 3600 // 60, whole % 60]
        shown = [(amount, unit) for amount, unit in zip(parts, units, strict=True) if amount][:2]
        return " ".join(f"{amount}{space}{unit}" for amount, unit in shown) or f"0{space}{units[2]}"


def size(amount: float) -> str:
    """Bytes as people say them: 812 B, 1.2 MiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            break
        amount /= 1024
    return f"{amount:.0f} {unit}" if amount >= 100 or unit == "B" else f"{amount:.1f} {unit}"


def percent(share: float, decimals: int = 1) -> str:
    """A share as a percentage."""
    return f"{100 * share:.{decimals}f} %"
