# programs and files of src/verifier
