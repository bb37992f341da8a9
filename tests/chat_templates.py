"""How well-known models write conversations, and what a training on each must learn.

The templates say in our words what the models' own files say: the same text for the same turns, their trimming, their
default instructions and their refusals included. What is expected of them is written by hand, character for character.
"""

from __future__ import annotations

from dataclasses import dataclass

from bakeoff.models.chat import Template
from bakeoff.types import Message

SINGLE = (Message("user", "Where?"), Message("assistant", "Paris"))
# The reply stands in the question and in an earlier turn too: a mask made by searching would find it there.
TALK = (
    Message("user", "Hi, Paris"),
    Message("assistant", "Paris"),
    Message("user", "Is it Paris?"),
    Message("assistant", "Paris"),
)
TOLD = (Message("system", "Be brief."), *TALK)
ALTERNATE = (
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('turns must alternate') }}{% endif %}"
)


@dataclass(frozen=True)
class Family:
    """One way of writing conversations; each pair is a prompt as it is served, and all that carries loss."""

    name: str
    template: Template
    single: tuple[str, str]
    talk: tuple[str, str]
    told: tuple[str, str] | str
    """Of the conversation with an instruction; or the words of the error where that cannot be trained on."""


def chatml(default: str = "", bos: str = "") -> str:
    missing = "{% if loop.first and m.role != 'system' %}<|im_start|>system\n" + default + "<|im_end|>\n{% endif %}"
    return (
        bos
        + "{% for m in messages %}"
        + (missing if default else "")
        + "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
        + "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )


def chatml_family(name: str, default: str = "", bos: str = "") -> Family:
    start = f"<|im_start|>system\n{default}<|im_end|>\n" if default else ""
    turns = (
        "<|im_start|>user\nHi, Paris<|im_end|>\n<|im_start|>assistant\nParis<|im_end|>\n"
        "<|im_start|>user\nIs it Paris?<|im_end|>\n<|im_start|>assistant\n"
    )
    return Family(
        name,
        Template(
            chatml(default, "{{ bos_token }}" if bos else ""), bos, "<|im_end|>", ("<|im_start|>", "<|im_end|>", "<s>")
        ),
        (f"{bos}{start}<|im_start|>user\nWhere?<|im_end|>\n<|im_start|>assistant\n", "Paris<|im_end|>"),
        (f"{bos}{start}{turns}", "Paris<|im_end|>"),
        (f"{bos}<|im_start|>system\nBe brief.<|im_end|>\n{turns}", "Paris<|im_end|>"),
    )


LLAMA_2 = Family(
    "Llama 2",
    Template(
        "{% if messages[0].role == 'system' %}{% set rest = messages[1:] %}{% set told = messages[0].content %}"
        "{% else %}{% set rest = messages %}{% set told = false %}{% endif %}{% for m in rest %}" + ALTERNATE
        + "{% if loop.first and told %}{% set text = '<<SYS>>\n' + told + '\n<</SYS>>\n\n' + m.content %}"
        "{% else %}{% set text = m.content %}{% endif %}"
        "{% if m.role == 'user' %}{{ bos_token + '[INST] ' + text | trim + ' [/INST]' }}"
        "{% else %}{{ ' ' + text | trim + ' ' + eos_token }}{% endif %}{% endfor %}",
        "<s>",
        "</s>",
        ("<s>", "</s>"),
    ),
    ("<s>[INST] Where? [/INST]", " Paris </s>"),
    ("<s>[INST] Hi, Paris [/INST] Paris </s><s>[INST] Is it Paris? [/INST]", " Paris </s>"),
    (
        "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi, Paris [/INST] Paris </s><s>[INST] Is it Paris? [/INST]",
        " Paris </s>",
    ),
)  # fmt: skip
LLAMA_3_SPECIALS = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
LLAMA_3 = Family(
    "Llama 3",
    # As it was first published, it opens the next reply whether asked to or not.
    Template(
        "{% for m in messages %}"
        "{% set text = '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content | trim + '<|eot_id|>' %}"
        "{% if loop.first %}{% set text = bos_token + text %}{% endif %}{{ text }}{% endfor %}"
        "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}",
        "<|begin_of_text|>",
        "<|eot_id|>",
        LLAMA_3_SPECIALS,
    ),
    (
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nWhere?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        "Paris<|eot_id|>",
    ),
    (
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi, Paris<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nParis<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nIs it Paris?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        "Paris<|eot_id|>",
    ),
    (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nHi, Paris<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nParis<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nIs it Paris?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        "Paris<|eot_id|>",
    ),
)
LLAMA_31_TOLD = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"
LLAMA_31 = Family(
    "Llama 3.1",
    Template(
        "{{- bos_token }}\n{%- if messages[0].role == 'system' %}\n{%- set told = messages[0].content | trim %}\n"
        "{%- set messages = messages[1:] %}\n{%- else %}\n{%- set told = '' %}\n{%- endif %}\n"
        "{{- '<|start_header_id|>system<|end_header_id|>\n\n' }}\n"
        "{{- 'Cutting Knowledge Date: December 2023\n' }}\n{{- 'Today Date: 26 Jul 2024\n\n' }}\n"
        "{{- told }}\n{{- '<|eot_id|>' }}\n{%- for m in messages %}\n"
        "{{- '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content | trim + '<|eot_id|>' }}\n"
        "{%- endfor %}\n{%- if add_generation_prompt %}\n"
        "{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}\n{%- endif %}\n",
        "<|begin_of_text|>",
        "<|eot_id|>",
        LLAMA_3_SPECIALS,
    ),
    (
        f"<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n{LLAMA_31_TOLD}<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nWhere?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        "Paris<|eot_id|>",
    ),
    (
        f"<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n{LLAMA_31_TOLD}<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nHi, Paris<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nParis<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nIs it Paris?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        "Paris<|eot_id|>",
    ),
    (
        f"<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n{LLAMA_31_TOLD}Be brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nHi, Paris<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nParis<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nIs it Paris?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        "Paris<|eot_id|>",
    ),
)
MISTRAL_1 = Family(
    "Mistral v0.1",
    Template(
        "{{ bos_token }}{% for m in messages %}" + ALTERNATE
        + "{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}"
        "{% elif m.role == 'assistant' %}{{ m.content + eos_token + ' ' }}"
        "{% else %}{{ raise_exception('only user and assistant') }}{% endif %}{% endfor %}",
        "<s>",
        "</s>",
        ("<s>", "</s>"),
    ),
    ("<s>[INST] Where? [/INST]", "Paris</s>"),
    ("<s>[INST] Hi, Paris [/INST]Paris</s> [INST] Is it Paris? [/INST]", "Paris</s>"),
    "turns must alternate",
)  # fmt: skip
MISTRAL_3 = Family(
    "Mistral v0.3",
    # The instruction stands in the last turn if that is the user's: with the reply behind it, it is gone.
    Template(
        "{%- if messages[0].role == 'system' %}{%- set told = messages[0].content %}{%- set rest = messages[1:] %}"
        "{%- else %}{%- set rest = messages %}{%- endif %}{{- bos_token }}{%- for m in rest %}"
        "{%- if m.role == 'user' %}"
        "{%- if loop.last and told is defined %}{{- '[INST] ' + told + '\n\n' + m.content + '[/INST]' }}"
        "{%- else %}{{- '[INST] ' + m.content + '[/INST]' }}{%- endif %}"
        "{%- else %}{{- ' ' + m.content | trim + eos_token }}{%- endif %}{%- endfor %}",
        "<s>",
        "</s>",
        ("<s>", "</s>", "[INST]", "[/INST]"),
    ),
    ("<s>[INST] Where?[/INST]", " Paris</s>"),
    ("<s>[INST] Hi, Paris[/INST] Paris</s>[INST] Is it Paris?[/INST]", " Paris</s>"),
    "renders training and serving differently",
)
GEMMA_TURNS = (
    "{% set role = 'model' if m.role == 'assistant' else m.role %}"
    "{{ '<start_of_turn>' + role + '\n' + {told} m.content | trim + '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
GEMMA_SPECIALS = ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>")
GEMMA = Family(
    "Gemma 2",
    Template(
        "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        "{% for m in messages %}" + ALTERNATE + GEMMA_TURNS.replace("{told} ", ""),
        "<bos>",
        "<end_of_turn>",
        GEMMA_SPECIALS,
    ),
    ("<bos><start_of_turn>user\nWhere?<end_of_turn>\n<start_of_turn>model\n", "Paris<end_of_turn>"),
    (
        "<bos><start_of_turn>user\nHi, Paris<end_of_turn>\n<start_of_turn>model\nParis<end_of_turn>\n"
        "<start_of_turn>user\nIs it Paris?<end_of_turn>\n<start_of_turn>model\n",
        "Paris<end_of_turn>",
    ),
    "no system role",
)
GEMMA_3 = Family(
    "Gemma 3",
    Template(
        "{{ bos_token }}{% set told = '' %}{% set rest = messages %}{% if messages[0].role == 'system' %}"
        "{% set told = messages[0].content + '\n\n' %}{% set rest = messages[1:] %}{% endif %}{% for m in rest %}"
        + ALTERNATE + GEMMA_TURNS.replace("{told}", "(told if loop.first else '') +"),
        "<bos>",
        "<end_of_turn>",
        GEMMA_SPECIALS,
    ),
    GEMMA.single,
    GEMMA.talk,
    (
        "<bos><start_of_turn>user\nBe brief.\n\nHi, Paris<end_of_turn>\n<start_of_turn>model\nParis<end_of_turn>\n"
        "<start_of_turn>user\nIs it Paris?<end_of_turn>\n<start_of_turn>model\n",
        "Paris<end_of_turn>",
    ),
)  # fmt: skip
PHI_3 = Family(
    "Phi-3",
    # Its end of text stands behind the end of the turn, so both are learnt.
    Template(
        "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}",
        "<s>",
        "<|endoftext|>",
        ("<s>", "<|endoftext|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"),
    ),
    ("<|user|>\nWhere?<|end|>\n<|assistant|>\n", "Paris<|end|>\n<|endoftext|>"),
    (
        "<|user|>\nHi, Paris<|end|>\n<|assistant|>\nParis<|end|>\n<|user|>\nIs it Paris?<|end|>\n<|assistant|>\n",
        "Paris<|end|>\n<|endoftext|>",
    ),
    (
        "<|system|>\nBe brief.<|end|>\n<|user|>\nHi, Paris<|end|>\n<|assistant|>\nParis<|end|>\n"
        "<|user|>\nIs it Paris?<|end|>\n<|assistant|>\n",
        "Paris<|end|>\n<|endoftext|>",
    ),
)
ZEPHYR = Family(
    "Zephyr",
    # Line ends behind the braces are part of the text; those behind statements are not.
    Template(
        "{% for m in messages %}\n{{ '<|' + m.role + '|>\n' + m.content + eos_token }}\n"
        "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}",
        "<s>",
        "</s>",
        ("<s>", "</s>"),
    ),
    ("<|user|>\nWhere?</s>\n<|assistant|>\n", "Paris</s>"),
    ("<|user|>\nHi, Paris</s>\n<|assistant|>\nParis</s>\n<|user|>\nIs it Paris?</s>\n<|assistant|>\n", "Paris</s>"),
    (
        "<|system|>\nBe brief.</s>\n<|user|>\nHi, Paris</s>\n<|assistant|>\nParis</s>\n<|user|>\nIs it Paris?</s>\n"
        "<|assistant|>\n",
        "Paris</s>",
    ),
)
VICUNA = Family(
    "Vicuna",
    Template(
        "{% if messages[0].role == 'system' %}{% set told = messages[0].content %}{% set rest = messages[1:] %}"
        "{% else %}{% set told = 'A chat between a user and an assistant.' %}{% set rest = messages %}{% endif %}"
        "{{ bos_token + told }}{% for m in rest %}"
        "{% if m.role == 'user' %}{{ ' USER: ' + m.content }}{% else %}{{ ' ASSISTANT: ' + m.content + eos_token }}"
        "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ ' ASSISTANT:' }}{% endif %}",
        "<s>",
        "</s>",
        ("<s>", "</s>"),
    ),
    ("<s>A chat between a user and an assistant. USER: Where? ASSISTANT:", " Paris</s>"),
    (
        "<s>A chat between a user and an assistant. USER: Hi, Paris ASSISTANT: Paris</s> USER: Is it Paris? ASSISTANT:",
        " Paris</s>",
    ),
    ("<s>Be brief. USER: Hi, Paris ASSISTANT: Paris</s> USER: Is it Paris? ASSISTANT:", " Paris</s>"),
)
ALPACA = Family(
    "Alpaca",
    Template(
        "{% for m in messages %}{% if m.role == 'system' %}{{ m.content + '\n\n' }}"
        "{% elif m.role == 'user' %}{{ '### Instruction:\n' + m.content | trim + '\n\n' }}"
        "{% else %}{{ '### Response:\n' + m.content | trim + eos_token + '\n\n' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '### Response:\n' }}{% endif %}",
        "<s>",
        "</s>",
        ("<s>", "</s>"),
    ),
    ("### Instruction:\nWhere?\n\n### Response:\n", "Paris</s>"),
    (
        "### Instruction:\nHi, Paris\n\n### Response:\nParis</s>\n\n### Instruction:\nIs it Paris?\n\n### Response:\n",
        "Paris</s>",
    ),
    (
        "Be brief.\n\n### Instruction:\nHi, Paris\n\n### Response:\nParis</s>\n\n### Instruction:\nIs it Paris?\n\n"
        "### Response:\n",
        "Paris</s>",
    ),
)
DEEPSEEK_SPECIALS = ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>")
DEEPSEEK_2 = Family(
    "DeepSeek V2",
    Template(
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ 'User: ' + m.content + '\n\n' }}"
        "{% elif m.role == 'assistant' %}{{ 'Assistant: ' + m.content + eos_token }}"
        "{% else %}{{ m.content + '\n\n' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}",
        *DEEPSEEK_SPECIALS[:2],
        DEEPSEEK_SPECIALS,
    ),
    ("<｜begin▁of▁sentence｜>User: Where?\n\nAssistant:", " Paris<｜end▁of▁sentence｜>"),
    (
        "<｜begin▁of▁sentence｜>User: Hi, Paris\n\nAssistant: Paris<｜end▁of▁sentence｜>"
        "User: Is it Paris?\n\nAssistant:",
        " Paris<｜end▁of▁sentence｜>",
    ),
    (
        "<｜begin▁of▁sentence｜>Be brief.\n\nUser: Hi, Paris\n\nAssistant: Paris<｜end▁of▁sentence｜>"
        "User: Is it Paris?\n\nAssistant:",
        " Paris<｜end▁of▁sentence｜>",
    ),
)
DEEPSEEK_3 = Family(
    "DeepSeek V3",
    Template(
        "{% set ns = namespace(told='') %}{% for m in messages %}{% if m.role == 'system' %}"
        "{% set ns.told = m.content %}{% endif %}{% endfor %}{{ bos_token }}{{ ns.told }}{% for m in messages %}"
        "{% if m.role == 'user' %}{{ '<｜User｜>' + m.content }}"
        "{% elif m.role == 'assistant' %}{{ '<｜Assistant｜>' + m.content + '<｜end▁of▁sentence｜>' }}{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<｜Assistant｜>' }}{% endif %}",
        *DEEPSEEK_SPECIALS[:2],
        DEEPSEEK_SPECIALS,
    ),
    ("<｜begin▁of▁sentence｜><｜User｜>Where?<｜Assistant｜>", "Paris<｜end▁of▁sentence｜>"),
    (
        "<｜begin▁of▁sentence｜><｜User｜>Hi, Paris<｜Assistant｜>Paris<｜end▁of▁sentence｜>"
        "<｜User｜>Is it Paris?<｜Assistant｜>",
        "Paris<｜end▁of▁sentence｜>",
    ),
    (
        "<｜begin▁of▁sentence｜>Be brief.<｜User｜>Hi, Paris<｜Assistant｜>Paris<｜end▁of▁sentence｜>"
        "<｜User｜>Is it Paris?<｜Assistant｜>",
        "Paris<｜end▁of▁sentence｜>",
    ),
)
COHERE_SPECIALS = (
    "<BOS_TOKEN>",
    "<|START_OF_TURN_TOKEN|>",
    "<|END_OF_TURN_TOKEN|>",
    "<|USER_TOKEN|>",
    "<|CHATBOT_TOKEN|>",
    "<|SYSTEM_TOKEN|>",
)
COMMAND_R = Family(
    "Command R",
    Template(
        "{{ bos_token }}{% if messages[0].role == 'system' %}{% set rest = messages[1:] %}"
        "{{ '<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>' + messages[0].content + '<|END_OF_TURN_TOKEN|>' }}"
        "{% else %}{% set rest = messages %}{% endif %}{% for m in rest %}" + ALTERNATE
        + "{% set who = 'USER' if m.role == 'user' else 'CHATBOT' %}"
        "{{ '<|START_OF_TURN_TOKEN|><|' + who + '_TOKEN|>' + m.content.strip() + '<|END_OF_TURN_TOKEN|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' }}{% endif %}",
        "<BOS_TOKEN>",
        "<|END_OF_TURN_TOKEN|>",
        COHERE_SPECIALS,
    ),
    (
        "<BOS_TOKEN><|START_OF_TURN_TOKEN|><|USER_TOKEN|>Where?<|END_OF_TURN_TOKEN|>"
        "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
        "Paris<|END_OF_TURN_TOKEN|>",
    ),
    (
        "<BOS_TOKEN><|START_OF_TURN_TOKEN|><|USER_TOKEN|>Hi, Paris<|END_OF_TURN_TOKEN|>"
        "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>Paris<|END_OF_TURN_TOKEN|>"
        "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>Is it Paris?<|END_OF_TURN_TOKEN|>"
        "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
        "Paris<|END_OF_TURN_TOKEN|>",
    ),
    (
        "<BOS_TOKEN><|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>Be brief.<|END_OF_TURN_TOKEN|>"
        "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>Hi, Paris<|END_OF_TURN_TOKEN|>"
        "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>Paris<|END_OF_TURN_TOKEN|>"
        "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>Is it Paris?<|END_OF_TURN_TOKEN|>"
        "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
        "Paris<|END_OF_TURN_TOKEN|>",
    ),
)  # fmt: skip
OLMO_2 = Family(
    "OLMo 2",
    # Its texts begin with the very token that ends a reply.
    Template(
        "{{ bos_token }}{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content }}"
        "{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}"
        "{% if not (loop.last and m.role == 'assistant') %}{{ '\n' }}{% endif %}"
        "{% if loop.last and add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}{% endfor %}",
        "<|endoftext|>",
        "<|endoftext|>",
        ("<|endoftext|>",),
    ),
    ("<|endoftext|><|user|>\nWhere?\n<|assistant|>\n", "Paris<|endoftext|>"),
    (
        "<|endoftext|><|user|>\nHi, Paris\n<|assistant|>\nParis<|endoftext|>\n<|user|>\nIs it Paris?\n<|assistant|>\n",
        "Paris<|endoftext|>",
    ),
    (
        "<|endoftext|><|system|>\nBe brief.\n<|user|>\nHi, Paris\n<|assistant|>\nParis<|endoftext|>\n"
        "<|user|>\nIs it Paris?\n<|assistant|>\n",
        "Paris<|endoftext|>",
    ),
)
GRANITE_SPECIALS = ("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>")
GRANITE = Family(
    "Granite 3.0",
    Template(
        "{%- for m in messages %}\n"
        "    {{- '<|start_of_role|>' + m.role + '<|end_of_role|>' + m.content + '<|end_of_text|>\n' }}\n"
        "    {%- if loop.last and add_generation_prompt %}\n    {{- '<|start_of_role|>assistant<|end_of_role|>' }}\n"
        "    {%- endif %}\n{%- endfor %}",
        "<|end_of_text|>",
        "<|end_of_text|>",
        GRANITE_SPECIALS,
    ),
    (
        "<|start_of_role|>user<|end_of_role|>Where?<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>",
        "Paris<|end_of_text|>",
    ),
    (
        "<|start_of_role|>user<|end_of_role|>Hi, Paris<|end_of_text|>\n"
        "<|start_of_role|>assistant<|end_of_role|>Paris<|end_of_text|>\n"
        "<|start_of_role|>user<|end_of_role|>Is it Paris?<|end_of_text|>\n"
        "<|start_of_role|>assistant<|end_of_role|>",
        "Paris<|end_of_text|>",
    ),
    (
        "<|start_of_role|>system<|end_of_role|>Be brief.<|end_of_text|>\n"
        "<|start_of_role|>user<|end_of_role|>Hi, Paris<|end_of_text|>\n"
        "<|start_of_role|>assistant<|end_of_role|>Paris<|end_of_text|>\n"
        "<|start_of_role|>user<|end_of_role|>Is it Paris?<|end_of_text|>\n"
        "<|start_of_role|>assistant<|end_of_role|>",
        "Paris<|end_of_text|>",
    ),
)
OPENCHAT = Family(
    "OpenChat 3.5",
    Template(
        "{{ bos_token }}{% for m in messages %}"
        "{{ 'GPT4 Correct ' + m.role.title() + ': ' + m.content + '<|end_of_turn|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'GPT4 Correct Assistant:' }}{% endif %}",
        "<s>",
        "<|end_of_turn|>",
        ("<s>", "<|end_of_turn|>"),
    ),
    ("<s>GPT4 Correct User: Where?<|end_of_turn|>GPT4 Correct Assistant:", " Paris<|end_of_turn|>"),
    (
        "<s>GPT4 Correct User: Hi, Paris<|end_of_turn|>GPT4 Correct Assistant: Paris<|end_of_turn|>"
        "GPT4 Correct User: Is it Paris?<|end_of_turn|>GPT4 Correct Assistant:",
        " Paris<|end_of_turn|>",
    ),
    (
        "<s>GPT4 Correct System: Be brief.<|end_of_turn|>GPT4 Correct User: Hi, Paris<|end_of_turn|>"
        "GPT4 Correct Assistant: Paris<|end_of_turn|>"
        "GPT4 Correct User: Is it Paris?<|end_of_turn|>GPT4 Correct Assistant:",
        " Paris<|end_of_turn|>",
    ),
)
FAMILIES = (
    chatml_family("ChatML"),
    chatml_family("InternLM 2", bos="<s>"),
    chatml_family("Qwen 2.5", "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."),
    chatml_family("SmolLM2", "You are a helpful AI assistant named SmolLM, trained by Hugging Face"),
    LLAMA_2,
    LLAMA_3,
    LLAMA_31,
    MISTRAL_1,
    MISTRAL_3,
    GEMMA,
    GEMMA_3,
    PHI_3,
    ZEPHYR,
    VICUNA,
    ALPACA,
    DEEPSEEK_2,
    DEEPSEEK_3,
    COMMAND_R,
    OLMO_2,
    GRANITE,
    OPENCHAT,
)

THINKS = Template(
    # DeepSeek R1's distilled models: the reply is opened with a thought that an earlier reply has lost.
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '<｜User｜>' + m.content }}"
    "{% elif m.role == 'assistant' %}{{ '<｜Assistant｜>' + m.content.split('</think>')[-1] + eos_token }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<｜Assistant｜><think>\n' }}{% endif %}",
    *DEEPSEEK_SPECIALS[:2],
    DEEPSEEK_SPECIALS,
)
UNHEARD = Template(
    # Phi-3 mini as it stands in early GGUF files: an instruction is left out without a word.
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}"
    "{{ '<|user|>\n' + m.content + '<|end|>\n<|assistant|>\n' }}"
    "{% elif m.role == 'assistant' %}{{ m.content + '<|end|>\n' }}{% endif %}{% endfor %}",
    "<s>",
    "<|end|>",
    ("<s>", "<|end|>", "<|user|>", "<|assistant|>"),
)
ENDLESS = Template(
    # ChatGLM 4: no token ends a turn but the beginning of the next.
    "[gMASK]<sop>{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}",
    "",
    "<|endoftext|>",
    ("<|endoftext|>", "[gMASK]", "<sop>", "<|user|>", "<|assistant|>", "<|system|>"),
)
