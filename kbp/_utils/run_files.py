"""Names of the files that a run leaves in its folder."""

RECIPE = "recipe.toml"
MODEL = "model.keras"
QUANTIZED_MODEL = "model_quantized.keras"
FLOAT32 = "model_float32.tflite"
INT8 = "model_int8.tflite"
GOLDEN = "golden.npz"
LATENCY_TABLE = "latency_table.json"
PREDICTIONS = "predictions.svg"
COLUMNS = "columns.json"  # of a table
LABELS = "labels.txt"
IMAGES = "images.json"  # what they were like
INTERVALS = "intervals.json"
CATEGORIES = "categories.json"
SERIES = "series.json"  # what a forecasting model was trained on
