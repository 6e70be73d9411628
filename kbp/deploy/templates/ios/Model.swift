// Needs in the Podfile:
//     pod 'TensorFlowLiteSwift', '~> 2.14.0'
// and model.tflite among the resources of the app.

import Foundation
import TensorFlowLite

/// The model @name@, which takes and gives floats.
final class Model {
    private let interpreter: Interpreter

    init() throws {
        guard let path = Bundle.main.path(forResource: "model", ofType: "tflite")
        else { throw CocoaError(.fileNoSuchFile) }
        interpreter = try Interpreter(modelPath: path)
        try interpreter.allocateTensors()
    }

    /// @input_layout@ in, @output_layout@ out.
    func predict(_ values: [Float]) throws -> [Float] {
        precondition(values.count == @input_count@)
@write@
        try interpreter.copy(data, toInputAt: 0)
        try interpreter.invoke()
        let output = try interpreter.output(at: 0)
@read@
    }
}
