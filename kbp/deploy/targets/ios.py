"""An iOS app's file, and a class of Swift that runs it."""

from kbp.deploy.deployable import Deployable
from kbp.deploy.phones import Phone, contents
from kbp.deploy.registry import Contents, register_target

_ROUNDED = """\
        let data = Data(values.map { value -> UInt8 in
            let step = (value / @scale@).rounded(.toNearestOrEven) + (@zero@)
            return UInt8(@bits@Int(max(@low@, min(@high@, step))))
        })"""
_SWIFT = Phone(
    "ios/Model.swift",
    write={
        "float32": "        let data = values.withUnsafeBufferPointer "
        "{ Data(buffer: $0) }",
        "int8": _ROUNDED.replace("@low@", "-128")
        .replace("@high@", "127")
        .replace("@bits@", "truncatingIfNeeded: "),
        "uint8": _ROUNDED.replace("@low@", "0")
        .replace("@high@", "255")
        .replace("@bits@", ""),
    },
    read={
        "float32": "        return output.data.withUnsafeBytes "
        "{ Array($0.bindMemory(to: Float.self)) }",
        "int8": "        return output.data.map "
        "{ Float(Int(Int8(bitPattern: $0)) - (@zero@)) * @scale@ }",
        "uint8": "        return output.data.map "
        "{ Float(Int($0) - (@zero@)) * @scale@ }",
    },
)


@register_target("ios")
def ios(model: Deployable) -> Contents:
    """Return a folder with `Model.swift`."""
    return contents(
        model,
        _SWIFT,
        "# Podfile",
        "pod 'TensorFlowLiteSwift', '~> 2.14.0'",
    )
