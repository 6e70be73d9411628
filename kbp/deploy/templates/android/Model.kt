// Needs in app/build.gradle.kts:
//     implementation("com.google.ai.edge.litert:litert:2.3.0")
// and model.tflite in app/src/main/assets.

import android.content.Context
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel

/** The model @name@, which takes and gives floats. */
class Model(context: Context) : AutoCloseable {
    private val model = CompiledModel.create(
        context.assets, "model.tflite", CompiledModel.Options(Accelerator.CPU))
    private val inputs = model.createInputBuffers()
    private val outputs = model.createOutputBuffers()

    /** @input_layout@ in, @output_layout@ out. */
    fun predict(values: FloatArray): FloatArray {
        require(values.size == @input_count@)
@write@
        model.run(inputs, outputs)
@read@
    }

    override fun close() = model.close()
}
