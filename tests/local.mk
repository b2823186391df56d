# programs and files of tests
