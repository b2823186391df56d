# programs and files of src/worker
