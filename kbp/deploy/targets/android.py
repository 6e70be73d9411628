"""An Android app's file, and a class of Kotlin that runs it."""

from kbp.deploy.deployable import Deployable
from kbp.deploy.phones import Phone, contents
from kbp.deploy.registry import Contents, register_target

_ROUNDED = """\
        val rounded = ByteArray(values.size) { i ->
            val step = Math.rint((values[i] / @scale@f).toDouble()).toInt()
            (step + (@zero@)).coerceIn(@low@, @high@).toByte()
        }
        inputs[0].writeInt8(rounded)"""
_KOTLIN = Phone(
    "android/Model.kt",
    write={
        "float32": "        inputs[0].writeFloat(values)",
        "int8": _ROUNDED.replace("@low@", "-128").replace("@high@", "127"),
        "uint8": _ROUNDED.replace("@low@", "0").replace("@high@", "255"),
    },
    read={
        "float32": "        return outputs[0].readFloat()",
        "int8": """\
        val steps = outputs[0].readInt8()
        return FloatArray(steps.size) { (steps[it] - (@zero@)) * @scale@f }""",
        "uint8": """\
        val steps = outputs[0].readInt8()
        return FloatArray(steps.size) {
            ((steps[it].toInt() and 255) - (@zero@)) * @scale@f
        }""",
    },
)


@register_target("android")
def android(model: Deployable) -> Contents:
    """Return a folder with `Model.kt`."""
    return contents(
        model,
        _KOTLIN,
        "// app/build.gradle.kts, from the repository google()",
        'implementation("com.google.ai.edge.litert:litert:2.3.0")',
    )
