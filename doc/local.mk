# programs and files of doc
