"""The rules that a training file is held to: OpenAI's published ones, and those that experience adds.

Sources: OpenAI's guides to supervised, vision and direct preference fine-tuning, the schemas
`FineTuneChatRequestInput` and `FineTunePreferenceRequestInput` of its API reference, its Files API, and what its
validation answers. What breaks one of those is an error: the file is refused, or something in it is not learnt as it
was meant. What only makes a worse model is a warning.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Level = Literal["error", "warning"]

EXAMPLES_MIN: Final = 10
FILE_BYTES_MAX: Final = 512_000_000
"""Of an upload in one piece."""
EXAMPLE_TOKENS_MAX: Final = 65_536
"""Of models that are not among those below: the gpt-4.1 and gpt-4o families, the only ones that are still trained."""
TOKENS_MAX_OF: Final = {"gpt-3.5-turbo": 16_385, "gpt-4-0613": 8_192}
"""By how the model's name begins."""
TOOLS_MAX: Final = 128
IMAGES_MAX: Final = 10
IMAGE_BYTES_MAX: Final = 10_000_000
IMAGE_EXAMPLES_MAX: Final = 50_000
IMAGE_TYPES: Final = ("image/jpeg", "image/png", "image/webp")


class Rule(NamedTuple):
    level: Level
    says: str
    """What is wrong."""
    do: str
    """What to do about it."""


def _error(says: str, do: str) -> Rule:
    return Rule("error", says, do)


def _warning(says: str, do: str) -> Rule:
    return Rule("warning", says, do)


RULES: Final[dict[str, Rule]] = {
    # The file.
    "too_few_examples": _error(f"fewer than {EXAMPLES_MIN} examples", "Add examples; 50 good ones are a fair start."),
    "file_too_large": _error(
        "more than 512 MB", "Split the file, or upload it in parts with the Uploads API, which takes 8 GB."
    ),
    "mixed_kinds": _error("examples of several kinds in one file", "Keep one kind in each file."),
    "too_many_image_examples": _error(
        f"more than {IMAGE_EXAMPLES_MAX:,} examples with images", "Leave some of them out."
    ),
    # The line.
    "not_utf8": _error("not UTF-8", "Save the file as UTF-8."),
    "byte_order_mark": _error("begins with a byte order mark", "Save the file as UTF-8 without one."),
    "not_json": _error("not JSON", "Write one whole JSON object on each line, without line breaks or commas between."),
    "not_an_object": _error("not a JSON object", "Write one JSON object on each line, not an array of them."),
    "line_too_long": _error("longer than 64 MB", "Shorten it; images can be given by URL."),
    "empty_line": _warning("an empty line", "Remove it."),
    "other_format": _error(
        "neither `messages` nor `input` with its outputs",
        "Make a dataset of it: penstock dataset build NAME --from FILE.",
    ),
    "unknown_field": _error("a field that the format does not have", "Remove it."),
    "too_many_tokens": _error(
        "more tokens than an example may have; the end, which is the answer, is cut off",
        "Shorten it, or build with --max-tokens.",
    ),
    # Messages.
    "no_messages": _error("no messages", "Put at least a question and an answer into `messages`."),
    "not_a_message": _error("not an object with a `role`", "Write messages as objects with `role` and `content`."),
    "unknown_role": _error("a role that there is not", "Use system, developer, user, assistant or tool."),
    "unknown_message_field": _error("a field that messages of this role do not have", "Remove it."),
    "no_answer": _error("no message of the assistant, so there is nothing to learn", "End it with the answer."),
    "answer_not_last": _error("the last message is not the assistant's", "End it with the answer."),
    "no_content": _error("no content", "Write a text; only calls of tools and refusals go without."),
    "content_shape": _error("content that is neither a text nor a list of parts", "Write a text."),
    "tool_content": _error("content of a tool message that is not a text", "Write the result as one text."),
    "part_shape": _error("a part of content that this role cannot have", "Write texts; users may have images too."),
    "message_name": _error("a name with blanks or longer than 64 characters", "Rename or remove it."),
    "weight_value": _error("a weight that is neither 0 nor 1", "Write 0 or 1, as numbers."),
    "weight_role": _error("a weight on a message that is not the assistant's", "Remove it."),
    "nothing_learnt": _error("all answers have weight 0, so there is nothing to learn", "Give one the weight 1."),
    # Images.
    "image_url": _error(
        "an image that is neither http(s) nor data URL", "Give the URL, or the image itself in base64."
    ),
    "image_type": _error("an inlined image that is not JPEG, PNG or WEBP", "Convert it."),
    "image_too_large": _error("an image of more than 10 MB", "Scale it down, or build with a lower --image-bytes."),
    "too_many_images": _error(f"more than {IMAGES_MAX} images in one example", "Leave some of them out."),
    "image_in_pair": _error("an image; preferences are trained on texts alone", "Remove the example."),
    # Tools.
    "tools_shape": _error(
        "tools that are not a list of functions with names", "Write them as a chat request has them."
    ),
    "tool_name": _error(
        "a function's name with other than letters, digits, _ and -, or longer than 64", "Rename the function."
    ),
    "parameters_shape": _error("parameters that are not a JSON schema of an object", "Write an object schema."),
    "same_tool_twice": _error("two tools of the same name", "Remove one."),
    "too_many_tools": _error(f"more than {TOOLS_MAX} tools", "Leave some of them out."),
    "parallel_tool_calls": _error("`parallel_tool_calls` that is not true or false, or without tools", "Remove it."),
    "call_shape": _error("a call without id, type or function", "Write calls as chat replies have them."),
    "call_arguments": _error("arguments that are not a JSON object in a text", "Encode the arguments as JSON text."),
    "unknown_tool": _error("a call of a function that is not among the tools", "Add the tool, or remove the example."),
    "no_tools": _warning("calls without `tools`", "Add the tools, or the model learns to make them up."),
    "call_without_result": _error(
        "a call that the messages after it do not answer", "Add a tool message with its tool_call_id."
    ),
    "result_without_call": _error("a result of no call before it", "Remove it, or restore the call."),
    "old_functions": _warning("`functions` and `function_call` of the old kind", "Write `tools` and `tool_calls`."),
    # Preferences.
    "input_shape": _error("`input` without messages", "Put what was asked into input.messages."),
    "input_answered": _error("`input` that ends with an answer", "The answers belong into the outputs."),
    "output_shape": _error("an output that is not one message of the assistant", "Keep one message in each output."),
    "same_outputs": _error("both outputs are the same, so there is nothing to prefer", "Remove the example."),
    # Ours.
    "duplicate": _warning("the same as an earlier line", "Remove it: build deduplicates."),
    "contradiction": _warning(
        "the same question as an earlier line, with another answer", "Keep the better answer, or make a pair of them."
    ),
    "empty_answer": _warning("an empty answer", "Remove the example: it teaches silence."),
    "no_question": _warning("nothing was asked: no message of the user", "Check that the question was recorded."),
    "answer_repeats_question": _warning("the answer is the question", "Remove the example."),
    "private_text": _warning("private text", "Scrub it: penstock dataset build NAME --from FILE."),
    "placeholder_answer": _warning(
        "an answer with a placeholder that nobody gave it", "Remove the example, or the model learns to write them."
    ),
    "template_hole": _warning("a template's variable that was not filled in", "Check what made the prompt."),
    "control_tokens": _warning("a model's own control tokens in a text", "Remove them: the chat template adds them."),
}
"""By name, in the order of a report."""
