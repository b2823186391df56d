# programs and files of src/cli
