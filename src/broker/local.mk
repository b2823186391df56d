# programs and files of src/broker
